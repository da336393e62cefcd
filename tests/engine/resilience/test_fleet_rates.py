"""Workers share the rates of a store, and each has its own part while the ledger is away."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Callable

import pytest

from skyferry.engine.resilience.shared.limits import FleetLimits
from skyferry.engine.resilience.shared.rates import FleetRateLimiter
from skyferry.errors import LedgerError
from skyferry.ledgers.memory.ledger import MemoryLedger
from skyferry.ledgers.memory.state import MemoryState
from skyferry.ports import Heartbeat
from skyferry.records import Record
from skyferry.testing.clock import ManualClock


class LedgerOfWorker(MemoryLedger):
    """A ledger that a test cuts off, and that counts the reservations."""

    away = False
    calls = 0

    async def reserve_units(self, name: str, units: float, rate: float, burst: float) -> float:
        self.calls += 1
        self._check()
        return await super().reserve_units(name, units, rate, burst)

    async def list_breakers(self):  # type: ignore[no-untyped-def] # as the base has it
        self._check()
        return await super().list_breakers()

    def _check(self) -> None:
        if self.away:
            raise LedgerError("connection refused", where="ledger")


class Fleet:
    """Workers on one ledger, which use units as fast as they may, and the times of all units."""

    def __init__(self) -> None:
        self.clock, self.state = ManualClock(), MemoryState()
        self.used: list[tuple[float, float]] = []  # when, how many
        self.heard: list[Record] = []
        self.ledgers: list[LedgerOfWorker] = []

    def on(self, record: Record) -> None:
        """Keep a record."""
        self.heard.append(record)

    def worker(self, rate: float) -> tuple[FleetLimits, FleetRateLimiter]:
        """Return another worker's limits and its limiter of the rate."""
        self.ledgers.append(LedgerOfWorker(f"worker-{len(self.ledgers)}", self.clock, state=self.state))
        limits = FleetLimits(self.ledgers[-1], self.clock, self)
        return limits, FleetRateLimiter("requests s3  bucket", rate, limits, self.clock)

    async def use(self, limiter: FleetRateLimiter, units: Callable[[], float], pause: float = 0.0) -> None:
        """Use units again and again."""
        while True:
            await limiter.take(amount := units())
            self.used.append((self.clock.monotonic(), amount))
            if pause:
                await self.clock.sleep(pause)

    def most(self, seconds: float) -> float:
        """Return the most units that were used in a span of so many seconds."""
        times = [at for at, _ in self.used]
        sums = [0.0]
        for _, units in self.used:
            sums.append(sums[-1] + units)
        return max(sums[bisect_left(times, at + seconds)] - sums[n] for n, at in enumerate(times))

    def total(self) -> float:
        """Return the units used."""
        return sum(units for _, units in self.used)


async def run_for(fleet: Fleet, seconds: float, *works: asyncio.Task[None]) -> None:
    for _ in range(round(seconds / 0.05)):
        await fleet.clock.advance(0.05)
    for work in works:
        work.cancel()
    await asyncio.gather(*works, return_exceptions=True)


@pytest.mark.parametrize("count", [1, 2, 20])
@pytest.mark.parametrize("rate", [0.5, 7.0, 400.0])
async def test_workers_together_keep_to_the_rate(count: int, rate: float) -> None:
    """In every span of time; and they use nearly all of it, with few calls of the ledger."""
    fleet = Fleet()
    limiters = [fleet.worker(rate)[1] for _ in range(count)]
    seconds = max(20.0, 20 / rate)
    await run_for(fleet, seconds, *(asyncio.create_task(fleet.use(x, lambda: 1.0)) for x in limiters for _ in range(4)))
    for span in (0.1, 1.0, 5.0):
        assert fleet.most(span) <= rate * (span + 1) + 1
    assert fleet.total() >= rate * (seconds - 1)
    calls = sum(ledger.calls for ledger in fleet.ledgers)
    assert calls <= seconds * (8 + 4 * count)
    assert calls <= fleet.total() + 4 * count


async def test_workers_with_unequal_work_share_it() -> None:
    """One asks all the time and the others now and then: these do not wait long, and little is lost in unused batches."""
    fleet, rate = Fleet(), 100.0
    busy, *slow = [fleet.worker(rate)[1] for _ in range(6)]
    works = [asyncio.create_task(fleet.use(busy, lambda: 1.0)) for _ in range(50)]
    calm = Fleet()
    calm.clock = fleet.clock
    works += [asyncio.create_task(calm.use(limiter, lambda: 1.0, pause=0.2)) for limiter in slow]
    await run_for(fleet, 30.0, *works)
    fleet.used = sorted(fleet.used + calm.used)
    for span in (1.0, 5.0):
        assert fleet.most(span) <= rate * (span + 1) + 1
    assert fleet.total() >= 0.6 * rate * 30
    assert calm.total() >= 5 * 30 / 0.2 / 6, "at most a second of waiting for each"


async def test_bytes_of_large_requests_keep_to_the_rate() -> None:
    """A request that is larger than a batch passes, and the others wait until it is worked off."""
    fleet, rate = Fleet(), 1000.0
    sizes = [10.0, 4000.0, 300.0, 1.0]
    limiters = [fleet.worker(rate)[1] for _ in range(3)]
    orders = [iter(sizes[n:] * 1000) for n in range(3)]
    await run_for(
        fleet,
        120.0,
        *(asyncio.create_task(fleet.use(x, lambda o=o: next(o))) for x, o in zip(limiters, orders, strict=True)),  # type: ignore[misc] # bound at once
    )
    for span in (1.0, 20.0):
        assert fleet.most(span) <= rate * (span + 1) + max(sizes) * 4
    assert fleet.total() >= rate * 110


async def test_no_limit_asks_no_ledger() -> None:
    """A rate of 0."""
    fleet = Fleet()
    _, limiter = fleet.worker(0.0)
    assert [await limiter.take(1e9) for _ in range(10)] == [0.0] * 10
    assert fleet.ledgers[0].calls == 0


async def test_what_a_dead_worker_has_drawn_is_all_that_is_lost() -> None:
    """A worker that is gone keeps no share of the rate."""
    fleet, rate = Fleet(), 100.0
    _, dead = fleet.worker(rate)
    _, other = fleet.worker(rate)
    assert await dead.take(1.0) == 0.0  # a batch of which it uses one
    work = asyncio.create_task(fleet.use(other, lambda: 1.0))
    await run_for(fleet, 10.0, work)
    assert fleet.total() >= rate * 10 - rate * 0.25


async def test_a_batch_that_nobody_waits_for_is_not_kept() -> None:
    """Neither by a task that was cancelled while it waited for its turn."""
    fleet, rate = Fleet(), 100.0
    _, first = fleet.worker(rate)
    _, other = fleet.worker(rate)
    await first.take(500.0)
    waiting = asyncio.create_task(other.take(50.0))
    await fleet.clock.advance(0.1)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert other.waiting == 0
    await fleet.clock.advance(100)
    for _ in range(30):
        fleet.used.append((fleet.clock.monotonic(), 1.0))
        assert await other.take(1.0) < 1.0
    assert not other._spend(50.0)


async def test_without_the_ledger_each_worker_has_its_share() -> None:
    """The configured rate divided by the last known number of workers, without a request that waits for the ledger."""
    fleet, rate = Fleet(), 100.0
    workers = [fleet.worker(rate) for _ in range(4)]
    for ledger in fleet.ledgers:
        await ledger.heartbeat(Heartbeat("host", "1", "", 0.0), [])
    for limits, _ in workers:
        await limits.exchange()
        assert limits.workers == 4
    for ledger in fleet.ledgers:
        ledger.away = True
    runs = [asyncio.create_task(limits.run()) for limits, _ in workers]
    works = [asyncio.create_task(fleet.use(limiter, lambda: 1.0)) for _, limiter in workers]
    await run_for(fleet, 10.0)
    assert rate * 9 <= fleet.total() <= rate * 12
    assert [r.count for r in fleet.heard if r.event == "shared_limits.fallback"] == [4] * 4, "once for each worker"
    assert all(ledger.calls <= 1 for ledger in fleet.ledgers)
    for ledger in fleet.ledgers:
        ledger.away = False
    await run_for(fleet, 2.0)
    assert [r.event for r in fleet.heard] == ["shared_limits.fallback"] * 4 + ["shared_limits.restored"] * 4
    calls = sum(ledger.calls for ledger in fleet.ledgers)
    fleet.used.clear()
    await run_for(fleet, 10.0, *works, *runs)
    assert fleet.most(5.0) <= rate * 6 + 1
    assert sum(ledger.calls for ledger in fleet.ledgers) > calls, "shared again"


async def test_the_rate_holds_when_the_ledger_goes_and_comes() -> None:
    """No worker catches up by itself with time that was the fleet's; afterwards half a second is caught up with."""
    fleet, rate = Fleet(), 100.0
    workers = [fleet.worker(rate) for _ in range(4)]
    for ledger in fleet.ledgers:
        await ledger.heartbeat(Heartbeat("host", "1", "", 0.0), [])
    runs = [asyncio.create_task(limits.run()) for limits, _ in workers]
    works = [asyncio.create_task(fleet.use(limiter, lambda: 1.0)) for _, limiter in workers]
    for away in (False, True, False, True):
        for ledger in fleet.ledgers:
            ledger.away = away
        await run_for(fleet, 5.0)
    await run_for(fleet, 0.0, *works, *runs)
    for span in (0.5, 2.0, 8.0):
        assert fleet.most(span) <= rate * (span + 1.5) + 1 + len(works)
    assert fleet.total() >= rate * 18


async def test_a_rate_without_answer_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The ledger answers everything else, so only a reservation shows that it works again."""
    fleet = Fleet()
    limits, limiter = fleet.worker(10.0)

    async def refuse(*args: object) -> float:
        raise LedgerError("permission denied", hint="GRANT")

    monkeypatch.setattr(fleet.ledgers[0], "reserve_units", refuse)
    await limiter.take(1.0)
    for _ in range(3):
        await limits.exchange()
        assert limits.alone
        assert limits.problem == "permission denied (GRANT)"
    monkeypatch.undo()
    await limits.exchange()
    assert not limits.alone
    assert [r.event for r in fleet.heard] == ["shared_limits.fallback", "shared_limits.restored"]


async def test_a_ledger_that_hangs_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a moment; the request that waited passes."""
    monkeypatch.setattr("skyferry.engine.resilience.shared.limits.PATIENCE", 0.01)
    fleet = Fleet()
    limits, limiter = fleet.worker(10.0)

    async def hang(*args: object) -> float:
        await asyncio.get_running_loop().create_future()
        return 0.0

    monkeypatch.setattr(fleet.ledgers[0], "reserve_units", hang)
    await limiter.take(1.0)
    assert limits.alone
    (record,) = fleet.heard
    assert record.message == "no answer within 0.01 s"


async def test_another_rate_after_a_restart_holds_at_once() -> None:
    """A debt counts in units: ten times the rate works it off in a tenth of the time."""
    fleet = Fleet()
    _, before = fleet.worker(1.0)
    await before.take(100.0)
    _, after = fleet.worker(100.0)
    waiting = asyncio.create_task(after.take(1.0))
    await fleet.clock.advance(2.0)
    assert waiting.done()
    assert waiting.result() == pytest.approx(1.0, abs=0.1)
