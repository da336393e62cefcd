"""The faults of the simulation are those that are meant."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from dataclasses import replace

import pytest

from skyferry.ledgers.memory.ledger import MemoryLedger
from skyferry.model import Attributes, Checksums, Claim, ObjectMeta
from skyferry.stores.memory import MemoryStore
from skyferry.testing.ledger.harness import transfer
from skyferry.testing.simulation.chaos import LATE, STORE_ERRORS, Chaos, Weather
from skyferry.testing.simulation.loop import SimulatedClock, SimulatedLoop
from skyferry.testing.simulation.rules import Rules


@pytest.fixture
def loop() -> Iterator[SimulatedLoop]:
    """A loop on virtual time."""
    loop = SimulatedLoop(random.Random(1))
    asyncio.set_event_loop(loop)
    yield loop
    asyncio.set_event_loop(None)
    loop.close()


@pytest.mark.parametrize(("stop", "counted", "woken"), [("freeze", 60.0, 61.0), ("suspend", 0.0, 70.0)])
def test_a_stopped_process_misses_time(loop: SimulatedLoop, stop: str, counted: float, woken: float) -> None:
    """Of SIGSTOP its monotonic clock takes notice, and its timers are due at once; of a suspension neither."""
    clock, seen = SimulatedClock(loop), []

    async def work() -> None:
        began = clock.monotonic()
        await clock.sleep(10.0)
        seen.append((loop.time(), clock.monotonic() - began - 10.0))

    async def main() -> None:
        task = loop.spawn("one", work(), "one")
        await clock.sleep(1.0)
        getattr(loop, stop)("one", 60.0)
        await task

    loop.run_until_complete(main())
    ((at, late),) = seen
    assert at == pytest.approx(woken)
    assert late == pytest.approx(max(0.0, counted - 9.0))


@pytest.mark.parametrize("land", [0.0, 1.0])
@pytest.mark.parametrize("stop", ["freeze", "crash"])
def test_a_change_of_a_stopped_process_may_take_effect_meanwhile(loop: SimulatedLoop, stop: str, land: float) -> None:
    """The store may have received it whole. The process gets that answer when it continues, and sends nothing again."""
    clock = SimulatedClock(loop)
    store = MemoryStore("destination", clock)
    weather = Weather(latency=10.0, stall=0.0, fail=0.0, corrupt=0.0, land=land)
    chaotic = Chaos(store, weather, random.Random(1), clock, STORE_ERRORS)

    async def main() -> None:
        task = loop.spawn("one", chaotic.write("k", b"data", Attributes(), Checksums()), "one")
        await clock.sleep(0.01)
        chaotic.disconnect()
        if stop == "freeze":
            loop.freeze("one", 60.0)
        else:
            loop.crashed.add("one")
        await clock.sleep(weather.land_within)
        assert bool(store.bucket.objects) is bool(land)
        if stop == "freeze":
            assert (await task).version == "1"
            assert store.bucket.objects["k"][0].version == "1"
        else:
            loop.crashed.clear()
            task.cancel()

    loop.run_until_complete(main())


@pytest.mark.parametrize(
    ("late", "replaced", "seconds", "allowed"),
    [(True, False, 21.0, True), (True, False, 19.0, False), (True, True, 21.0, False), (False, False, 21.0, False)],
    ids=["beyond all guards", "too soon", "over an object", "its worker never stopped"],
)
def test_only_one_old_version_may_come_after_a_newer_one(
    loop: SimulatedLoop, late: bool, replaced: bool, seconds: float, allowed: bool
) -> None:
    """That of a worker that stood still, where there is no object, and long after its key was taken over."""
    clock = SimulatedClock(loop)
    source, store = MemoryStore("source", clock), MemoryStore("destination", clock)
    ledger = MemoryLedger("rules", clock)
    rules = Rules(ledger, source, store, 512, clock)

    async def write(position: str) -> ObjectMeta:
        return await store.write("k", b"", Attributes(metadata={"skyferry-position": position}), Checksums())

    async def main() -> None:
        rules.put_at_source("k", b"")
        await rules.written(await write("gcs-generation:2"), replaced=False)
        (claim,) = await ledger.claim([transfer("t", key="k")])
        assert isinstance(claim, Claim)
        rules.claimed([replace(claim, taken_over=True)])
        await clock.sleep(seconds)
        LATE.set(late)
        await rules.written(await write("gcs-generation:1"), replaced=replaced)
        assert bool(rules.breaches) is not allowed

    loop.run_until_complete(main())


@pytest.mark.parametrize("land", [0.0, 1.0])
def test_an_aborted_write_may_take_effect_later(loop: SimulatedLoop, land: float) -> None:
    """The store may have received it whole."""
    clock = SimulatedClock(loop)
    store = MemoryStore("destination", clock)
    weather = Weather(latency=10.0, stall=0.0, fail=0.0, corrupt=0.0, land=land)
    chaotic = Chaos(store, weather, random.Random(1), clock, STORE_ERRORS)

    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await chaotic.write("k", b"data", Attributes(), Checksums())
        assert not store.bucket.objects
        await clock.sleep(weather.land_within)
        assert bool(store.bucket.objects) is bool(land)

    loop.run_until_complete(main())
