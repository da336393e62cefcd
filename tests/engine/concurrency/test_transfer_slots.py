"""Transfers run in the order of their ranks, and large ones leave the places of small ones."""

from __future__ import annotations

import asyncio

from skyferry.engine.concurrency.transfer_slots import PrioritySemaphore, TransferSlot


async def turns() -> None:
    """Let every task run on."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_semaphore_lets_the_earliest_rank_go_next() -> None:
    """However they came; and never more than its size."""
    semaphore, went = PrioritySemaphore(1), []
    await semaphore.acquire(0)

    async def enter(rank: float) -> None:
        await semaphore.acquire(rank)
        went.append(rank)

    tasks = [asyncio.create_task(enter(rank)) for rank in (3, 1, 2)]
    await turns()
    assert went == []
    for wanted in ([1], [1, 2], [1, 2, 3]):
        semaphore.release()
        await turns()
        assert went == wanted
    await asyncio.gather(*tasks)


async def test_a_place_granted_to_a_cancelled_task_goes_to_the_next() -> None:
    """At the same moment, too."""
    semaphore = PrioritySemaphore(1)
    await semaphore.acquire(0)
    first, second = asyncio.create_task(semaphore.acquire(1)), asyncio.create_task(semaphore.acquire(2))
    await turns()
    semaphore.release()
    first.cancel()
    await turns()
    assert second.done()


async def test_a_large_transfer_does_not_keep_a_place_of_the_small() -> None:
    """With all places of the large taken by waiting giants, a thousand small ones pass."""
    small, large = PrioritySemaphore(2), PrioritySemaphore(1)

    async def giant(gate: asyncio.Event) -> None:
        with await TransferSlot.take(small, large, 0.0) as slot:
            await slot.promote()
            await gate.wait()

    gate = asyncio.Event()
    giants = [asyncio.create_task(giant(gate)) for _ in range(10)]
    passed = 0
    for _ in range(1000):
        with await TransferSlot.take(small, large, 1.0):
            passed += 1
    assert passed == 1000
    gate.set()
    await asyncio.gather(*giants)
    with await TransferSlot.take(small, large, 2.0), await TransferSlot.take(small, large, 2.0):
        pass  # every place was given back
