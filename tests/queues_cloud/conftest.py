"""One server of each kind per session; a test that needs one which is not installed is skipped, and says what would bring it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from typing import TypeVar

import pytest
from tests.absent import absent

from skyferry.testing.servers import Azurite, LocalStack, Missing, azurite, localstack
from skyferry.testing.servers.pubsub import PubSubEmulator, pubsub

T = TypeVar("T")


@pytest.fixture(scope="session")
def servers() -> Iterator[ExitStack]:
    """Ends what was started."""
    with ExitStack() as stack:
        yield stack


def _start(servers: ExitStack, server: AbstractContextManager[T]) -> T:
    try:
        return servers.enter_context(server)
    except Missing as missing:
        absent(missing)


@pytest.fixture(scope="session")
def localstack_server(servers: ExitStack) -> LocalStack:
    return _start(servers, localstack(("sqs",)))


@pytest.fixture(scope="session")
def azurite_server(servers: ExitStack) -> Azurite:
    return _start(servers, azurite())


@pytest.fixture(scope="session")
def pubsub_server(servers: ExitStack) -> PubSubEmulator:
    return _start(servers, pubsub())
