"""Stores at each cloud, and the token services that their identities use."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import pytest

from skyferry.clouds.credentials import fixed_credentials
from skyferry.stores.gcs.client import GcsOptions
from skyferry.stores.gcs.store import GcsStore
from skyferry.stores.s3.store import S3Store
from skyferry.testing.clock import ManualClock
from skyferry.testing.identity import Clouds, TokenServices, token_services
from skyferry.testing.identity.clouds import ENTRA_AUDIENCE, KUBERNETES, POD, RESOURCE
from skyferry.testing.servers import GcsFake
from skyferry.testing.servers.gcs import GcsPlace
from skyferry.testing.servers.s3 import S3Place


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
def gcs(gcs_server: GcsFake) -> GcsPlace:
    return GcsPlace(GcsOptions(endpoint=gcs_server.url), fixed_credentials(gcs_server.token))


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
def own_clock() -> ManualClock:
    return ManualClock(time.time())


@pytest.fixture
async def services(clock: ManualClock) -> AsyncIterator[TokenServices]:
    """They give a pod's token for each cloud that takes one."""
    async with token_services(Clouds(clock.time)) as running:
        for cloud, audience in (("google", f"https:{RESOURCE}"), ("entra", ENTRA_AUDIENCE)):
            running.clouds.tokens[cloud] = running.clouds.issuers[KUBERNETES].token(POD, audience, life=1e6)
        yield running
