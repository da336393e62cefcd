"""The servers of these tests, and a recorder before each: no request reaches one unseen."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager
from typing import TypeVar

import pytest
from tests.absent import absent

from skyferry.testing.servers import Azurite, GcsFake, LocalStack, Missing, azurite, gcs_fake, localstack
from skyferry.testing.servers.proxy import FaultProxy
from skyferry.testing.servers.pubsub import PubSubEmulator, pubsub

T = TypeVar("T")


def _started(server: AbstractContextManager[T]) -> Iterator[T]:
    try:
        with server as running:
            yield running
    except Missing as missing:
        absent(missing)


@pytest.fixture(scope="session")
def localstack_server() -> Iterator[LocalStack]:
    yield from _started(localstack(("s3", "sqs")))


@pytest.fixture(scope="session")
def gcs_server() -> Iterator[GcsFake]:
    yield from _started(gcs_fake())


@pytest.fixture(scope="session")
def azurite_server() -> Iterator[Azurite]:
    yield from _started(azurite())


@pytest.fixture(scope="session")
def pubsub_server() -> Iterator[PubSubEmulator]:
    yield from _started(pubsub())


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
