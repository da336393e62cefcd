"""A service and a client of its server."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
from tests.server.served import Service, connect


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
async def client(service: Service) -> AsyncIterator[httpx.AsyncClient]:
    async with connect(service) as client:
        yield client
