"""An outage that one worker finds is known to all, and one worker at a time tries the store again."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from skyferry.engine.resilience.circuit_breaker import BreakerPolicy, BreakerState
from skyferry.engine.resilience.shared.breaker import YIELD, FleetBreaker
from skyferry.engine.resilience.shared.limits import TRIAL, FleetLimits
from skyferry.errors import LedgerError
from skyferry.ledgers.memory.ledger import MemoryLedger
from skyferry.ledgers.memory.state import MemoryState
from skyferry.ports import OpenBreaker
from skyferry.records import Record
from skyferry.testing.clock import ManualClock

NAME = "s3  bucket"
OPEN, HALF_OPEN, CLOSED = BreakerState.OPEN, BreakerState.HALF_OPEN, BreakerState.CLOSED


class CutOffLedger(MemoryLedger):
    """A ledger that a test cuts off."""

    away = False

    async def list_breakers(self) -> list[OpenBreaker]:
        self._check()
        return await super().list_breakers()

    async def open_breaker(self, name: str, side: str, seconds: float, cooldown: float) -> int:
        self._check()
        return await super().open_breaker(name, side, seconds, cooldown)

    async def close_breaker(self, name: str, opening: int) -> None:
        self._check()
        await super().close_breaker(name, opening)

    def _check(self) -> None:
        if self.away:
            raise LedgerError("connection refused", where="ledger")


class FleetWorker:
    """One worker's breaker of the store, and its exchange with the ledger."""

    def __init__(self, name: str, clock: ManualClock, state: MemoryState) -> None:
        self.heard: list[Record] = []
        self.ledger = CutOffLedger(name, clock, state=state)
        self.limits = FleetLimits(self.ledger, clock, self)
        self.breaker = FleetBreaker(
            NAME, BreakerPolicy(failures=2, cooldown=5.0, max_cooldown=60.0), clock, self.limits.ask
        )
        self.limits.share_breakers({"store": self.breaker})

    def on(self, record: Record) -> None:
        """Keep a record."""
        self.heard.append(record)

    def fail(self, *keys: str) -> None:
        """Requests for these objects fail."""
        for key in keys:
            self.breaker.record_outage("read", key, None)

    @property
    def state(self) -> BreakerState:
        """The state of the breaker."""
        return self.breaker.state


class World:
    """Three workers."""

    def __init__(self) -> None:
        self.clock, self.state = ManualClock(), MemoryState()
        self.workers = [FleetWorker(name, self.clock, self.state) for name in "abc"]

    async def exchange(self, *workers: FleetWorker) -> None:
        """Let workers exchange with the ledger; by default all, one after the other."""
        for worker in workers or self.workers:
            await worker.limits.exchange()

    def states(self) -> list[BreakerState]:
        """The state at each."""
        return [worker.state for worker in self.workers]

    async def try_again(self, worker: FleetWorker) -> float:
        """Let a worker with a waiting transfer ask for the trial. Return the seconds until it may try."""
        if (wait := worker.breaker.time_to_trial()) > 0:
            await worker.limits.exchange()
            wait = worker.breaker.time_to_trial()
        return wait


@pytest.fixture
async def world() -> World:
    return World()


def refused(workers: Sequence[FleetWorker]) -> list[bool]:
    return [worker.breaker.time_refused("x") > 0 for worker in workers]


async def test_one_worker_opens_it_for_all(world: World) -> None:
    """With the next exchange of each, for as long as it is open at the first."""
    a, *others = world.workers
    a.fail("1", "2")
    await world.exchange()
    assert world.states() == [OPEN] * 3
    await world.clock.advance(2)
    for worker in others:
        assert worker.breaker.time_to_trial() == pytest.approx(3.0)
        assert worker.breaker.time_refused("x") == pytest.approx(3.0)
        assert [(r.event, r.store, r.reason) for r in worker.heard] == [("breaker.changed", "store", "open")]


async def test_one_worker_tries_and_its_success_closes_it_for_all(world: World) -> None:
    """The others send no request meanwhile, however long the trial takes."""
    a, b, c = world.workers
    a.fail("1", "2")
    await world.exchange()
    await world.clock.advance(5)
    assert await world.try_again(b) == 0
    assert b.state is HALF_OPEN
    assert b.breaker.begin_transfer()
    for _ in range(20):
        await world.clock.advance(1)
        await world.exchange()
        assert await world.try_again(c) > 0
        assert await world.try_again(a) > 0
        assert refused(world.workers) == [True, False, True]
    b.breaker.record_answer("read", "1")
    b.breaker.end_probe()
    await world.exchange(b, a, c)
    assert world.states() == [CLOSED] * 3
    assert refused(world.workers) == [False] * 3
    assert world.state.breakers == {}


async def test_a_trial_that_fails_keeps_it_open_for_longer(world: World) -> None:
    """Twice as long, whichever worker tried before."""
    a, b, c = world.workers
    a.fail("1", "2")
    await world.exchange()
    await world.clock.advance(5)
    for worker, cooldown in (b, 10.0), (c, 20.0), (b, 40.0):
        assert await world.try_again(worker) == 0
        assert worker.breaker.begin_transfer()
        worker.fail(f"of {cooldown}")
        worker.breaker.end_probe()
        await world.exchange(worker)
        await world.exchange()
        assert world.states() == [OPEN] * 3
        assert c.breaker.time_open() == pytest.approx(cooldown)
        await world.clock.advance(cooldown + YIELD)


async def test_a_worker_that_dies_in_its_trial_is_replaced(world: World) -> None:
    """At the end of its lease, which it leaves by its own clock before."""
    a, b, c = world.workers
    a.fail("1", "2")
    await world.exchange()
    await world.clock.advance(5)
    assert await world.try_again(b) == 0
    assert b.breaker.begin_transfer()
    await world.clock.advance(TRIAL - 0.1)
    assert b.breaker.time_refused("x") > 0, "it has not renewed"
    assert await world.try_again(c) > 0
    await world.clock.advance(2.0)
    assert await world.try_again(c) == 0


async def test_the_worker_that_opened_it_leaves_the_trial_to_others_first(world: World) -> None:
    """Perhaps only its own network is broken. If no other has work for the store, it tries."""
    a, b, _ = world.workers
    a.fail("1", "2")
    await world.exchange()
    await world.clock.advance(5)
    assert await world.try_again(a) > 0
    assert b.breaker.time_to_trial(asks=False) > 0
    await world.exchange()
    assert world.state.breakers[NAME].holder == "", "a look without a transfer asks for nothing"
    await world.clock.advance(YIELD)
    assert await world.try_again(a) == 0


async def test_a_worker_that_alone_finds_it_down_does_not_stop_the_others_again(world: World) -> None:
    """Once another has closed it, until it has an answer of its own."""
    a, b, c = world.workers
    a.fail("1", "2")
    await world.exchange()
    b.breaker.record_answer("read", "in flight")
    await world.exchange(b, a, c)
    assert world.states() == [CLOSED] * 3
    a.fail("3", "4")
    await world.exchange()
    assert world.states() == [OPEN, CLOSED, CLOSED]
    await world.clock.advance(5)
    assert a.breaker.time_to_trial() == 0, "like a breaker of its own"
    a.breaker.record_answer("read", "5")
    a.fail("6", "7")
    await world.exchange()
    assert world.states() == [OPEN] * 3


async def test_without_the_ledger_each_worker_has_its_own(world: World) -> None:
    """Nothing waits for the ledger; what it found meanwhile it publishes afterwards."""
    a, b, c = world.workers
    for worker in (a, b):
        worker.ledger.away = True
    a.fail("1", "2")
    await world.exchange()
    assert world.states() == [OPEN, CLOSED, CLOSED]
    assert [r.event for r in a.heard] == ["shared_limits.fallback"]
    await world.clock.advance(5)
    assert a.breaker.time_to_trial() == 0
    assert a.breaker.begin_transfer()
    a.fail("3")
    a.breaker.end_probe()
    for worker in (a, b):
        worker.ledger.away = False
    await world.exchange()
    assert world.states() == [OPEN] * 3
    assert c.breaker.time_open() == pytest.approx(10.0)
    assert [r.event for r in a.heard] == ["shared_limits.fallback", "shared_limits.restored"]


async def test_a_success_without_the_ledger_closes_it_for_all_later(world: World) -> None:
    a, b, _ = world.workers
    a.fail("1", "2")
    await world.exchange()
    b.ledger.away = True
    await world.exchange()
    await world.clock.advance(5)
    assert b.breaker.time_to_trial() == 0
    b.breaker.record_answer("read", "1")
    await world.exchange()
    assert world.states() == [OPEN, CLOSED, OPEN]
    b.ledger.away = False
    await world.exchange()
    await world.exchange()
    assert world.states() == [CLOSED] * 3


async def test_an_opening_that_was_already_over_is_closed(world: World) -> None:
    """A request fails and another succeeds before the first exchange: the ledger hears of neither."""
    a, *_ = world.workers
    a.fail("1", "2")
    a.breaker.record_answer("read", "3")
    await world.exchange()
    assert world.states() == [CLOSED] * 3
    assert world.state.breakers == {}


async def test_a_worker_that_starts_during_an_outage_learns_of_it(world: World) -> None:
    a, *_ = world.workers
    a.fail("1", "2")
    await world.exchange()
    late = FleetWorker("late", world.clock, world.state)
    await world.clock.advance(600)
    await late.limits.exchange()
    assert late.breaker.time_refused("x") > 0
    assert await world.try_again(late) == 0


async def test_a_ledger_that_lost_it_closes_it(world: World) -> None:
    """Workers that still find the store down open it again."""
    a, b, _ = world.workers
    a.fail("1", "2")
    await world.exchange()
    world.state.breakers.clear()
    await world.exchange()
    assert world.states() == [CLOSED] * 3
    b.fail("3", "4")
    await world.exchange()
    assert b.state is OPEN
    await world.exchange()
    assert world.states() == [OPEN] * 3


async def test_an_exchange_is_asked_for_at_once(world: World) -> None:
    """Not only every second."""
    a, b, _ = world.workers
    tasks = [asyncio.create_task(worker.limits.run()) for worker in world.workers]
    await world.clock.advance(5.5)
    a.fail("1", "2")
    await world.clock.advance(0.2)
    assert NAME in world.state.breakers
    await world.clock.advance(1.0)
    assert b.state is OPEN
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
