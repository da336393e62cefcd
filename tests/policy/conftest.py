"""The servers of these tests, and a recorder before each: no request reaches one unseen."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from skyferry.testing.servers import Azurite, GcsFake, LocalStack
from skyferry.testing.servers.proxy import FaultProxy


@pytest.fixture
async def aws(localstack_server: LocalStack) -> AsyncIterator[FaultProxy]:
    async with FaultProxy(localstack_server.url) as proxy:
        yield proxy


@pytest.fixture
async def google(gcs_server: GcsFake) -> AsyncIterator[FaultProxy]:
    async with FaultProxy(gcs_server.url) as proxy:
        yield proxy


@pytest.fixture
async def blobs(azurite_server: Azurite) -> AsyncIterator[FaultProxy]:
    async with FaultProxy(azurite_server.blob_url.rpartition("/")[0]) as proxy:
        yield proxy


@pytest.fixture
async def queues(azurite_server: Azurite) -> AsyncIterator[FaultProxy]:
    async with FaultProxy(azurite_server.queue_url.rpartition("/")[0]) as proxy:
        yield proxy


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two identities at AWS, and Azurite's one."""
    for name in ("READER", "WRITER"):
        monkeypatch.setenv(f"{name}_ID", name)
        monkeypatch.setenv(f"{name}_SECRET", "any")
    monkeypatch.setenv("AZURE_STORAGE_KEY", Azurite("", "").key)
