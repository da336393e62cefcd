"""Object data in memory stay within the budget."""

from __future__ import annotations

import asyncio

import pytest
from tests.engine.concurrency.test_transfer_slots import turns

from skyferry.engine.resilience.memory_budget import MemoryBudget
from skyferry.errors import Unsupported


async def test_memory_is_bounded_and_given_in_the_order_of_asking() -> None:
    """A large request is not starved by small ones that would fit."""
    budget, got = MemoryBudget(10).share("a", "b"), []

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
    budget = MemoryBudget(10).share("a", "b")
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
    budget = MemoryBudget(100, 0.5).share("a", "b")
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
        await MemoryBudget(10).share("a", "b").take(11)


async def test_a_pair_that_returns_nothing_leaves_memory_to_others() -> None:
    """It gets two thirds, the next two thirds of the rest; each may go on when its own memory is returned."""
    budget = MemoryBudget(90, pairs=3)
    slow, slower, fast = budget.share("a", "slow"), budget.share("a", "slower"), budget.share("a", "fast")
    waiting = [asyncio.create_task(slow.take(10)) for _ in range(9)]
    await turns()
    waiting += [asyncio.create_task(slower.take(10)) for _ in range(9)]
    await turns()
    assert (slow.used, slower.used) == (60, 20)
    await fast.take(10)
    fast.give(10)
    slower.give(10)
    await turns()
    assert (slow.used, slower.used) == (60, 20), "a later request of the same pair"
    for task in waiting:
        task.cancel()


async def test_a_request_for_all_memory_is_not_starved_by_other_pairs() -> None:
    """It is the first of its pair, so later ones wait behind it."""
    budget = MemoryBudget(10, pairs=2)
    one, two = budget.share("a", "b"), budget.share("c", "d")
    await one.take(4)
    whole = asyncio.create_task(two.take(10))
    await turns()
    small = asyncio.create_task(one.take(1))
    await turns()
    assert not small.done()
    one.give(4)
    await turns()
    assert whole.done()
    two.give(10)
    await small
