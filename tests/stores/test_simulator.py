"""The simulator does what it is told, repeatably, and nothing else."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable

import pytest

from skyferry.clock import SystemClock
from skyferry.config.settings import SimulatorSettings
from skyferry.errors import (
    ConnectionLost,
    ObjectNotFound,
    PermissionDenied,
    QuotaExceeded,
    SkyferryError,
    StoreTimeout,
    StoreUnavailable,
    Throttled,
)
from skyferry.model import Attributes, Checksums
from skyferry.ports import ObjectStore
from skyferry.stores.memory import MemoryBucket, MemoryStore
from skyferry.stores.simulator import RATED, PlannedFault, SimulatedFault, SimulatedStore
from skyferry.testing.clock import ManualClock
from skyferry.testing.store import Place, StoreConformance
from skyferry.testing.store_cases.place import compute_digests

NOWHERE = MemoryBucket(exists=False)


def simulated(*script: PlannedFault, bucket: MemoryBucket | None = None, **settings: object) -> SimulatedStore:
    """Around a bucket that holds `k`."""
    bucket = bucket or MemoryBucket()
    return SimulatedStore(
        MemoryStore("sim", SystemClock(), bucket), SimulatorSettings.model_validate(settings), SystemClock(), script
    )


async def put(store: ObjectStore, key: str, data: bytes = b"data") -> None:
    """Write without declaring anything."""
    await store.write(key, data, Attributes(), Checksums())


class TestSimulatedStoreWithoutFaults(StoreConformance):
    """A simulator that was told nothing is as good as the store within."""

    @pytest.fixture
    def place(self) -> Place:
        bucket = MemoryBucket()
        return Place(simulated(bucket=bucket), "", simulated(bucket=bucket), simulated(bucket=NOWHERE))


async def fates(seed: int, count: int = 300) -> list[str]:
    """What became of so many reads."""
    bucket = MemoryBucket()
    await put(simulated(bucket=bucket), "k", b"0123456789")
    rates = dict.fromkeys(RATED, 0.1)
    store = simulated(bucket=bucket, seed=seed, timeout_after=0, **rates)

    async def fate() -> str:
        try:
            got = await store.read("k", 0, 10)
        except SkyferryError as error:
            return error.kind
        return "short" if len(got.data) < 10 else "whole" if got.data == b"0123456789" else "flipped"

    return await asyncio.gather(*(fate() for _ in range(count)))


async def test_the_same_seed_gives_the_same_run() -> None:
    """Request by request; another seed gives another."""
    assert await fates(1) == await fates(1) != await fates(2)


async def test_rates_are_probabilities() -> None:
    """Each fault comes as often as its rate says, give or take; the rest succeeds."""
    found = Counter(await fates(3, 4000))
    cut = found.pop("short")
    assert cut == pytest.approx(200, abs=60)
    assert found.pop("connection_lost") - cut == pytest.approx(400, abs=100)
    assert found.pop("whole") == pytest.approx(1200, abs=150)
    assert set(found) == {"throttled", "store_timeout", "permission_denied", "object_not_found", "flipped"}
    assert all(count == pytest.approx(400, abs=90) for count in found.values())


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (SimulatedFault.THROTTLE, Throttled),
        (SimulatedFault.TIMEOUT, StoreTimeout),
        (SimulatedFault.RESET, ConnectionLost),
        (SimulatedFault.PERMISSION, PermissionDenied),
        (SimulatedFault.OUTAGE, StoreUnavailable),
        (SimulatedFault.QUOTA, QuotaExceeded),
    ],
)
async def test_every_request_can_fail(fault: SimulatedFault, error: type[SkyferryError]) -> None:
    """With the error of its kind, before the effect unless told otherwise; the next one succeeds."""
    bucket = MemoryBucket()
    calm = simulated(bucket=bucket)
    await put(calm, "k")
    upload = await calm.start_upload("u", 1, 1, Attributes())
    part = await calm.write_part(upload, 1, b"x", compute_digests(b"x").crc32c)
    asks: dict[str, Callable[[ObjectStore], Awaitable[object]]] = {
        "head": lambda s: s.head("k"),
        "read": lambda s: s.read("k", 0, 1),
        "write": lambda s: put(s, "new"),
        "start_upload": lambda s: s.start_upload("new", 1, 1, Attributes()),
        "write_part": lambda s: s.write_part(upload, 1, b"x", part.crc32c),
        "finish_upload": lambda s: s.finish_upload(upload, [part], Checksums()),
        "delete": lambda s: s.delete("k"),
        "list": lambda s: anext(aiter(s.list())),
        "abort_upload": lambda s: s.abort_upload(upload),
    }
    for operation, ask in asks.items():
        store = simulated(PlannedFault(fault, operation, 1), bucket=bucket, timeout_after=0)
        before = dict(bucket.objects)
        with pytest.raises(error):
            await ask(store)
        assert bucket.objects == before
        await ask(store)


@pytest.mark.parametrize("fault", [SimulatedFault.TIMEOUT, SimulatedFault.RESET])
async def test_a_request_may_fail_after_its_effect(fault: SimulatedFault) -> None:
    """The answer is lost, the object is there; the deleted one is gone."""
    store = simulated(PlannedFault(fault, late=True), timeout_after=0)
    with pytest.raises(SkyferryError):
        await put(store, "k")
    assert (await store.inner.head("k")).size == 4
    with pytest.raises(SkyferryError):
        await store.delete("k")
    with pytest.raises(ObjectNotFound):
        await store.inner.head("k")


async def test_a_listing_may_break_off_in_the_middle() -> None:
    """What came until then is true, and the end is an error: nobody takes it for the whole."""
    bucket = MemoryBucket()
    for n in range(3000):
        await put(simulated(bucket=bucket), f"{n:04}")
    store, seen = simulated(PlannedFault(SimulatedFault.RESET, "list", late=True), bucket=bucket), []

    async def listing() -> None:
        async for meta in store.list():
            seen.append(meta.key)  # noqa: PERF401 - what came before the error counts

    with pytest.raises(ConnectionLost):
        await listing()
    assert seen == [f"{n:04}" for n in range(len(seen))]
    assert 0 < len(seen) < 1000


async def test_a_flipped_byte_leaves_the_meta_untouched() -> None:
    """So that only a checksum tells."""
    store = simulated(PlannedFault(SimulatedFault.CORRUPT, "read"))
    await put(store, "k", b"0123456789")
    got = await store.read("k", 0, 10)
    assert sum(a != b for a, b in zip(got.data, b"0123456789", strict=True)) == 1
    assert got.meta == await store.head("k")


async def test_a_body_cut_short_breaks_or_lies() -> None:
    """Early: an error. Late: fewer bytes than the meta says, and no error."""
    store = simulated(
        PlannedFault(SimulatedFault.TRUNCATE, "read", 1), PlannedFault(SimulatedFault.TRUNCATE, "read", 2, late=True)
    )
    await put(store, "k", b"0123456789")
    with pytest.raises(ConnectionLost):
        await store.read("k", 0, 10)
    got = await store.read("k", 0, 10)
    assert len(got.data) < got.meta.size == 10
    assert (await store.read("k", 0, 10)).data == b"0123456789"


async def test_the_script_names_requests() -> None:
    """By operation and number; None lets one pass; what it does not name is up to the rates."""
    script = (
        PlannedFault(None, "head", 2),
        PlannedFault(SimulatedFault.PERMISSION, "head"),
        PlannedFault(SimulatedFault.THROTTLE, number=5),
    )
    store = simulated(*script)
    await put(store, "k")
    with pytest.raises(PermissionDenied):
        await store.head("k")
    await store.head("k")
    await store.read("k", 0, 1)
    with pytest.raises(Throttled) as throttled:
        await store.read("k", 0, 1)
    assert throttled.value.retry_after is not None


async def test_an_outage_is_a_window_of_time() -> None:
    """Everything fails within, nothing before and after."""
    clock = ManualClock()
    inner = MemoryStore("m", clock)
    store = SimulatedStore(inner, SimulatorSettings(outages=("10s-25s", "1m-2m")), clock)
    for seconds, fails in ((9, False), (2, True), (13, True), (2, False), (60, True), (60, False)):
        await clock.advance(seconds)
        if fails:
            with pytest.raises(StoreUnavailable):
                await put(store, "k")
        else:
            await put(store, "k")


async def took(clock: ManualClock, call: Awaitable[object]) -> float:
    """Seconds until it was done, to the millisecond."""
    task, began = asyncio.ensure_future(call), clock.monotonic()
    while not task.done():
        await clock.advance(0.001)
    await task
    return round(clock.monotonic() - began, 3)


async def test_latency_jitter_and_bandwidth_take_time() -> None:
    """Latency for every request; the bytes of all requests share one line."""
    clock = ManualClock()
    slow = SimulatedStore(MemoryStore("m", clock), SimulatorSettings(latency=0.5, jitter=0.25), clock)
    for _ in range(5):
        assert (
            0.5 <= await took(clock, slow.abort_upload(await slow.inner.start_upload("k", 1, 1, Attributes()))) < 0.76
        )
    narrow = SimulatedStore(MemoryStore("m", clock), SimulatorSettings(bandwidth=1000), clock)
    both = asyncio.gather(put(narrow, "a", bytes(500)), put(narrow, "b", bytes(500)))
    assert await took(clock, both) == pytest.approx(1.0, abs=0.01)
    assert await took(clock, narrow.read("a", 0, 500)) == pytest.approx(0.5, abs=0.01)


async def test_a_quota_counts_what_is_there() -> None:
    """Also what was there before; overwriting and deleting free room; an upload needs its room from the start."""
    bucket = MemoryBucket()
    await put(simulated(bucket=bucket), "before", bytes(60))
    store = simulated(bucket=bucket, quota=100)
    await put(store, "k", bytes(40))
    with pytest.raises(QuotaExceeded):
        await put(store, "more", b"x")
    await put(store, "k", bytes(20))
    upload = await store.start_upload("u", 20, 20, Attributes())
    with pytest.raises(QuotaExceeded):
        await put(store, "more", b"x")
    await store.abort_upload(upload)
    await put(store, "more", b"x")
    await store.delete("before")
    await put(store, "more", bytes(80))
    with pytest.raises(QuotaExceeded):
        await store.start_upload("u", 1, 1, Attributes())
