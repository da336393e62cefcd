"""What a worker may take: lanes, memory, rates, breakers."""

from __future__ import annotations

import asyncio

import pytest

from skyferry.engine.resilience.circuit_breaker import Breaker, BreakerPolicy, BreakerState
from skyferry.engine.resilience.memory_budget import MemoryBudget
from skyferry.engine.resilience.rate_limit import RateLimiter
from skyferry.engine.resilience.transfer_slots import PrioritySemaphore, TransferSlot
from skyferry.errors import Unsupported
from skyferry.testing.clock import ManualClock


async def turns() -> None:
    """Let every task run on."""
    for _ in range(5):
        await asyncio.sleep(0)


def state(breaker: Breaker) -> BreakerState:
    """Now."""
    return breaker.state


async def test_a_lane_lets_the_earliest_rank_go_next() -> None:
    """However they came; and never more than its size."""
    lane, went = PrioritySemaphore(1), []
    await lane.acquire(0)

    async def enter(rank: float) -> None:
        await lane.acquire(rank)
        went.append(rank)

    tasks = [asyncio.create_task(enter(rank)) for rank in (3, 1, 2)]
    await turns()
    assert went == []
    for wanted in ([1], [1, 2], [1, 2, 3]):
        lane.release()
        await turns()
        assert went == wanted
    await asyncio.gather(*tasks)


async def test_a_place_given_to_somebody_who_was_cancelled_goes_to_the_next() -> None:
    """At the same moment, too."""
    lane = PrioritySemaphore(1)
    await lane.acquire(0)
    first, second = asyncio.create_task(lane.acquire(1)), asyncio.create_task(lane.acquire(2))
    await turns()
    lane.release()
    first.cancel()
    await turns()
    assert second.done()


async def test_a_large_transfer_does_not_keep_a_place_of_the_small() -> None:
    """With all places of the large taken by waiting giants, a thousand small ones pass."""
    small, large = PrioritySemaphore(2), PrioritySemaphore(1)

    async def giant(gate: asyncio.Event) -> None:
        async with TransferSlot(small, large, 0.0) as slot:
            await slot.promote()
            await gate.wait()

    gate = asyncio.Event()
    giants = [asyncio.create_task(giant(gate)) for _ in range(10)]
    passed = 0
    for _ in range(1000):
        async with TransferSlot(small, large, 1.0):
            passed += 1
    assert passed == 1000
    gate.set()
    await asyncio.gather(*giants)
    async with TransferSlot(small, large, 2.0), TransferSlot(small, large, 2.0):
        pass  # every place was given back


async def test_memory_is_bounded_and_given_in_the_order_of_asking() -> None:
    """A large request is not starved by small ones that would fit."""
    budget, got = MemoryBudget(10), []

    async def take(size: int) -> None:
        await budget.take(size)
        got.append(size)

    await take(6)
    waiting = [asyncio.create_task(take(size)) for size in (8, 1)]
    await turns()
    assert got == [6]
    budget.give(6)
    await turns()
    assert got == [6, 8, 1]
    await asyncio.gather(*waiting)


async def test_a_cancelled_request_for_memory_lets_the_next_pass() -> None:
    """And takes nothing with it."""
    budget = MemoryBudget(10)
    await budget.take(6)
    large, small = asyncio.create_task(budget.take(8)), asyncio.create_task(budget.take(4))
    await turns()
    large.cancel()
    await turns()
    assert small.done()
    budget.give(10)
    await budget.take(10)


async def test_what_bytes_take_besides_themselves_is_counted_too() -> None:
    """Of 100, with half as much beside each byte: 40 and 20 fit, no more; what fits only by itself has it alone."""
    budget = MemoryBudget(100, 0.5)
    await budget.take(40)
    await budget.take(20)
    more = asyncio.create_task(budget.take(20))
    await turns()
    assert not more.done()
    budget.give(20)
    await more
    budget.give(40)
    budget.give(20)
    await budget.take(90)
    budget.give(90)
    await budget.take(100)


async def test_what_never_fits_is_refused_at_once() -> None:
    """It would wait for ever."""
    with pytest.raises(Unsupported, match=r"limits\.memory|memory limit"):
        await MemoryBudget(10).take(11)


async def test_a_rate_is_held_over_time() -> None:
    """A burst of one second, then so many a second; a large request passes and is paid off after."""
    clock = ManualClock()
    limiter = RateLimiter(10.0, clock)
    done: list[float] = []

    async def ask(units: float) -> None:
        await limiter.take(units)
        done.append(clock.monotonic())

    await clock.advance(100)
    tasks = [asyncio.create_task(ask(5.0)) for _ in range(8)]
    await clock.advance(10)
    assert [round(at - 100, 3) for at in done] == [0, 0, 0, 0.5, 1.0, 1.5, 2.0, 2.5]
    assert limiter.waiting == 0
    await asyncio.gather(*tasks)


async def test_a_breaker_opens_probes_and_closes() -> None:
    """After failures in a row; one probe at a time; longer with every probe that fails; an answer closes it."""
    clock = ManualClock()
    breaker = Breaker(BreakerPolicy(failures=3, cooldown=5.0, max_cooldown=8.0, probes=1), clock)
    for _ in range(2):
        breaker.record_outage("write", None)
    breaker.record_answer("write")
    for _ in range(2):
        breaker.record_outage("write", None)
    assert breaker.time_to_trial() == 0, "not three in a row"
    breaker.record_outage("write", None)
    assert state(breaker) is BreakerState.OPEN
    assert breaker.time_to_trial() == 5.0
    await clock.advance(5)
    assert breaker.time_to_trial() == 0
    assert state(breaker) is BreakerState.HALF_OPEN
    assert breaker.begin_transfer()
    assert breaker.time_to_trial() > 0, "one probe is under way"
    breaker.record_outage("write", None)
    breaker.end_probe()
    assert breaker.time_to_trial() == 8.0, "twice as long, up to the longest"
    await clock.advance(8)
    assert breaker.time_to_trial() == 0
    breaker.record_answer("read")
    assert state(breaker) is BreakerState.HALF_OPEN, "a disk that is full still reads"
    breaker.record_answer("write")
    assert state(breaker) is BreakerState.CLOSED


async def test_a_breaker_heeds_the_stores_own_advice() -> None:
    """Retry-After, where it is longer than the cool-down."""
    breaker = Breaker(BreakerPolicy(failures=1, cooldown=5.0), ManualClock())
    breaker.record_outage("read", 30.0)
    assert breaker.time_open() == 30.0
