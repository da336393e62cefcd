"""A read that breaks off goes on where it broke off, at every cloud: only the rest is sent again, and the bytes are right."""

from __future__ import annotations

import os
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import pytest

from skyferry.clock import SystemClock
from skyferry.engine.resilience.circuit_breaker import Breaker, BreakerPolicy
from skyferry.engine.resilience.protection import Protection, protect_store
from skyferry.engine.resilience.retrying import RequestPolicy
from skyferry.errors import VersionChanged
from skyferry.model import Attributes
from skyferry.ports import Clock, ObjectStore
from skyferry.records import Record
from skyferry.retry import Backoff
from skyferry.testing.servers import Azurite
from skyferry.testing.servers.azure import AzurePlace
from skyferry.testing.servers.gcs import GcsPlace
from skyferry.testing.servers.proxy import Fault, FaultProxy
from skyferry.testing.servers.s3 import S3Place
from skyferry.testing.store_cases.place import compute_digests

SIZE = 6 * 2**20
START, LENGTH = 2**20, 4 * 2**20  # a range within it
CUT = 3 * 2**20


class Deaf:
    """Hears nothing."""

    def on(self, record: Record) -> None:
        """Hear it."""


@dataclass(frozen=True, slots=True)
class Case:
    """A store behind a proxy."""

    store: ObjectStore
    proxy: FaultProxy
    target: str  # a part of the path of a request for bytes

    def guarded(self, clock: Clock) -> ObjectStore:
        """As the engine uses it."""
        policy = RequestPolicy(backoff=Backoff(0.0, 0.0))
        breaker = Breaker(BreakerPolicy(), clock)
        return protect_store(self.store, Protection(breaker, clock, Deaf(), random.Random(1), policy))


@asynccontextmanager
async def behind(proxy: FaultProxy, store: ObjectStore, target: str) -> AsyncIterator[Case]:
    yield Case(store, proxy, target)
    await store.close()
    assert proxy.pending == 0, "a fault that was planned did not happen"


@pytest.fixture
async def s3_case(localstack_s3: S3Place) -> AsyncIterator[Case]:
    bucket = await localstack_s3.bucket()
    async with FaultProxy(localstack_s3.options.endpoint) as proxy:
        place = replace(localstack_s3, options=replace(localstack_s3.options, read_timeout=2.0))
        async with behind(proxy, place.store(bucket, proxy.url), "/k") as case:
            yield case


@pytest.fixture
async def gcs_case(gcs: GcsPlace) -> AsyncIterator[Case]:
    bucket = await gcs.bucket()
    async with FaultProxy(gcs.options.endpoint) as proxy:
        place = replace(gcs, options=replace(gcs.options, endpoint=proxy.url, read_timeout=2.0))
        async with behind(proxy, place.store(bucket), "alt=media") as case:
            yield case


@pytest.fixture
async def azure_case(azurite_server: Azurite) -> AsyncIterator[Case]:
    root, _, account = azurite_server.blob_url.rpartition("/")
    place = AzurePlace.on(azurite_server)
    container = await place.container()
    async with FaultProxy(root) as proxy:
        place = replace(place, options=replace(place.options, read_timeout=2.0))
        async with behind(proxy, place.store(container, f"{proxy.url}/{account}"), "/k") as case:
            yield case


@pytest.fixture(params=["s3", "gcs", "azure"])
def case(request: pytest.FixtureRequest) -> Case:
    case = request.getfixturevalue(f"{request.param}_case")
    assert isinstance(case, Case)
    return case


@pytest.mark.parametrize("broken", [Fault(cut=CUT), Fault(stall=CUT)], ids=["cut", "stalled"])
async def test_only_the_rest_is_read_again(case: Case, broken: Fault) -> None:
    data = os.urandom(SIZE)
    found = await case.store.write("k", data, Attributes(), compute_digests(data))
    case.proxy.plan(replace(broken, target=case.target))
    case.proxy.exchanges.clear()
    got = await case.guarded(SystemClock()).read("k", START, LENGTH, version=found.version)
    assert got.data == data[START : START + LENGTH]
    assert [x.sent for x in case.proxy.exchanges if case.target in x.target] == [CUT, LENGTH - CUT]


async def test_what_had_come_is_not_mixed_with_another_version(case: Case) -> None:
    """It is overwritten just before the rest is asked for."""
    data = os.urandom(SIZE)
    found = await case.store.write("k", data, Attributes(), compute_digests(data))

    class Overwriting(SystemClock):
        async def sleep(self, seconds: float) -> None:
            await case.store.write("k", data[::-1], Attributes(), compute_digests(data[::-1]))

    case.proxy.plan(Fault("GET", case.target, cut=CUT))
    with pytest.raises(VersionChanged):
        await case.guarded(Overwriting()).read("k", START, LENGTH, version=found.version)
