"""One server of each kind per session; a test that needs one which is not installed is skipped, and says what would bring it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager, ExitStack
from typing import TypeVar

import pytest
from tests.absent import absent

from skyferry.clouds.credentials import fixed
from skyferry.stores.gcs.client import GcsOptions
from skyferry.stores.gcs.store import GcsStore
from skyferry.stores.s3.client import S3Options
from skyferry.stores.s3.store import S3Store
from skyferry.testing.clock import ManualClock
from skyferry.testing.identity import Clouds, TokenServices, token_services
from skyferry.testing.identity.clouds import ENTRA_AUDIENCE, KUBERNETES, POD, RESOURCE
from skyferry.testing.servers import Azurite, LocalStack, Missing, RadosGateway, azurite, gcs_fake, localstack, radosgw
from skyferry.testing.servers.gcs import GcsPlace
from skyferry.testing.servers.s3 import S3Place

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
    return _start(servers, localstack())


@pytest.fixture(scope="session")
def radosgw_server(servers: ExitStack) -> RadosGateway:
    return _start(servers, radosgw())


@pytest.fixture(scope="session")
def azurite_server(servers: ExitStack) -> Azurite:
    return _start(servers, azurite())


@pytest.fixture(scope="session")
def localstack_s3(localstack_server: LocalStack) -> S3Place:
    return S3Place(S3Options(service="localstack", endpoint=localstack_server.url))


@pytest.fixture(scope="session")
def radosgw_s3(radosgw_server: RadosGateway) -> S3Place:
    options = S3Options(service="ceph", endpoint=radosgw_server.url)
    return S3Place(options, radosgw_server.access_key, radosgw_server.secret_key)


@pytest.fixture(params=["localstack", "radosgw"])
def s3(request: pytest.FixtureRequest) -> S3Place:
    place = request.getfixturevalue(f"{request.param}_s3")
    assert isinstance(place, S3Place)
    return place


@pytest.fixture
async def s3_store(s3: S3Place) -> AsyncIterator[S3Store]:
    """On a bucket of its own, of each service."""
    store = s3.store(await s3.bucket())
    yield store
    await store.close()


@pytest.fixture(scope="session")
def gcs(servers: ExitStack) -> GcsPlace:
    server = _start(servers, gcs_fake())
    return GcsPlace(GcsOptions(endpoint=server.url), fixed(server.token))


@pytest.fixture
async def gcs_store(gcs: GcsPlace) -> AsyncIterator[GcsStore]:
    """On a bucket of its own."""
    store = gcs.store(await gcs.bucket())
    yield store
    await store.close()


@pytest.fixture
def clock() -> ManualClock:
    """The token services'."""
    return ManualClock(time.time())


@pytest.fixture
def ours() -> ManualClock:
    return ManualClock(time.time())


@pytest.fixture
async def services(clock: ManualClock) -> AsyncIterator[TokenServices]:
    """They give a pod's token for each cloud that takes one."""
    async with token_services(Clouds(clock.time)) as running:
        for cloud, audience in (("google", f"https:{RESOURCE}"), ("entra", ENTRA_AUDIENCE)):
            running.clouds.tokens[cloud] = running.clouds.issuers[KUBERNETES].token(POD, audience, life=1e6)
        yield running
