"""The faults of the simulation are those that are meant."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator

import pytest

from skyferry.model import Attributes, Checksums
from skyferry.stores.memory import MemoryStore
from skyferry.testing.simulation.chaos import STORE_ERRORS, Chaos, Weather
from skyferry.testing.simulation.loop import SimulatedClock, SimulatedLoop


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
