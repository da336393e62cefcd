"""A worker that is cut off from its ledger while another takes over its key changes nothing after its lease."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import pytest
from tests.engine.lab import Lab

from skyferry.engine.consume.worker import WorkerPolicy
from skyferry.errors import LedgerError
from skyferry.ports import Clock
from skyferry.ports.decorators import Operation, StoreDecorator
from skyferry.stores.memory import MemoryBucket, MemoryStore
from skyferry.testing.simulation.loop import PROCESS, SimulatedClock, SimulatedLoop

LEASE = 30.0  # seconds, of the ledger in memory
CUT = 2.0  # seconds after which the first worker does not reach its ledger
LOOKS = {"head", "uploaded_parts", "read", "list"}


class Cut:
    """A ledger that its worker reaches for the first seconds only."""

    def __init__(self, inner: Any, clock: Clock) -> None:
        self._inner, self._clock = inner, clock

    def __getattr__(self, name: str) -> Any:
        inner = getattr(self._inner, name)
        if not callable(inner):
            return inner

        async def call(*args: Any) -> Any:
            if self._clock.monotonic() >= CUT:
                raise LedgerError("cut off")
            return await inner(*args)

        return call


class Slow(StoreDecorator):
    """A destination to which the first worker needs `seconds` for each body, and remembers the changes."""

    def __init__(self, inner: MemoryStore, clock: Clock, seconds: float) -> None:
        super().__init__(inner)
        self._clock, self._seconds = clock, seconds
        self.begun: list[tuple[str, float]] = []
        self.made: list[tuple[str, float]] = []

    async def _request(self, operation: Operation, key: str, size: int, call: Callable[..., Any], *args: Any) -> Any:
        if operation.name in LOOKS:
            return await call(*args)
        self.begun.append((PROCESS.get(), self._clock.monotonic()))
        await self._clock.sleep(self._seconds if operation.sends and PROCESS.get() == "first" else 0.0)
        self.made.append((PROCESS.get(), self._clock.monotonic()))
        return await call(*args)


@pytest.fixture
def loop() -> Iterator[SimulatedLoop]:
    """A loop on virtual time."""
    loop = SimulatedLoop(Random(1))
    asyncio.set_event_loop(loop)
    yield loop
    asyncio.set_event_loop(None)
    loop.close()


@pytest.mark.parametrize(
    ("size", "seconds", "streamed"),
    [(10, 40.0, 0), (6000, 40.0, 10_000), (6000, 8.0, 0)],
    ids=["single request", "stream", "parts"],
)
def test_a_worker_cut_off_from_its_ledger_stops_at_its_deadline(
    loop: SimulatedLoop, size: int, seconds: float, streamed: int
) -> None:
    """It begins no change after its lease, and what is under way takes no effect; the other worker copies the object."""

    async def scene() -> None:
        lab = Lab(lease=600.0)
        clock: Any = SimulatedClock(loop)
        lab.clock, lab.streamed = clock, streamed
        lab.source = MemoryStore("source", clock, MemoryBucket("source"))
        inner = MemoryStore("destination", clock, MemoryBucket("destination"))
        slow = lab.destination = Slow(inner, clock, seconds)
        await lab.put("k", bytes(size))
        await lab.send("k")
        one = WorkerPolicy(held_messages=1, batch=1)
        first = loop.spawn("first", lab.worker(Cut(lab.ledger(), clock), one).run(), "first")
        await clock.sleep(LEASE - 1)
        second = loop.spawn("second", lab.worker().run(), "second")
        for _ in range(20):  # the first worker still receives some of them
            await clock.sleep(3)
            await lab.send("k")
        for task in (first, second):
            task.cancel()
        await asyncio.gather(first, second, return_exceptions=True)
        assert [at for worker, at in slow.begun if worker == "first"], "the first worker began"
        late = [(worker, at) for worker, at in slow.begun + slow.made if worker == "first" and at > LEASE]
        assert not late
        assert any(worker == "second" for worker, _ in slow.made)
        assert len((await inner.read("k", 0, size)).data) == size
        assert lab.count("transfer.lease_lost") == 1

    loop.run_until_complete(scene())
