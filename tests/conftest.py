"""One server of each kind per session. Tests of a server that is not installed are skipped, with the command that installs it."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from itertools import count
from typing import TypeVar

import pytest
from tests.absent import absent

from skyferry.stores.s3.client import S3Options
from skyferry.testing.servers import (
    Azurite,
    GcsFake,
    LocalStack,
    NatsServer,
    PostgresServer,
    RadosGateway,
    RedisServer,
    ServerMissing,
    azurite,
    gcs_fake,
    localstack,
    nats,
    postgres,
    radosgw,
    redis,
)
from skyferry.testing.servers.pubsub import PubSubEmulator, pubsub
from skyferry.testing.servers.s3 import S3Place

T = TypeVar("T")
STATES = count(1)

signal.signal(
    signal.SIGHUP, signal.SIG_DFL
)  # as in a terminal: tests, and the commands that they start, may run under nohup


@pytest.fixture(autouse=True)
def state_folder(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep the ledgers of copies out of the home folder. The folder is made on demand."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.getbasetemp() / f"state-{next(STATES)}"))


@pytest.fixture(scope="session")
def servers() -> Iterator[ExitStack]:
    """Stop the servers at the end of the session."""
    with ExitStack() as stack:
        yield stack


def _start(servers: ExitStack, server: AbstractContextManager[T]) -> T:
    try:
        return servers.enter_context(server)
    except ServerMissing as missing:
        absent(missing)


@pytest.fixture(scope="session")
def localstack_server(servers: ExitStack) -> LocalStack:
    return _start(servers, localstack())


@pytest.fixture(scope="session")
def radosgw_server(servers: ExitStack) -> RadosGateway:
    return _start(servers, radosgw())


@pytest.fixture(scope="session")
def azurite_server(servers: ExitStack) -> Azurite:
    return _start(servers, azurite())


@pytest.fixture(scope="session")
def gcs_server(servers: ExitStack) -> GcsFake:
    return _start(servers, gcs_fake())


@pytest.fixture(scope="session")
def pubsub_server(servers: ExitStack) -> PubSubEmulator:
    return _start(servers, pubsub())


@pytest.fixture(scope="session")
def redis_server(servers: ExitStack) -> RedisServer:
    """Shared: a test uses keys of its own, and starts a server of its own before it restarts one."""
    return _start(servers, redis())


@pytest.fixture(scope="session")
def nats_server(servers: ExitStack) -> NatsServer:
    """Shared: a test uses streams of its own, and starts a server of its own before it restarts one."""
    return _start(servers, nats())


@pytest.fixture(scope="session")
def postgres_server(servers: ExitStack) -> PostgresServer:
    """Shared: a test uses `create_database`, and starts a server of its own before it restarts one."""
    return _start(servers, postgres())


@pytest.fixture(scope="session")
def localstack_s3(localstack_server: LocalStack) -> S3Place:
    return S3Place(S3Options(service="localstack", endpoint=localstack_server.url))


@pytest.fixture(scope="session")
def radosgw_s3(radosgw_server: RadosGateway) -> S3Place:
    options = S3Options(service="ceph", endpoint=radosgw_server.url)
    return S3Place(options, radosgw_server.access_key, radosgw_server.secret_key)
