"""Receives look into the ledger for redriven letters, no more often than is due."""

from __future__ import annotations

import asyncio

from tests.engine.dead_letters.test_intercept import LETTER

from skyferry.engine.dead_letters.redrive import RedriveQueue
from skyferry.ledgers.memory.ledger import MemoryLedger
from skyferry.ports import DeadLetter, Filter, Purpose
from skyferry.testing.clock import ManualClock


class CountingLedger(MemoryLedger):
    """Counts the looks."""

    looks = 0

    async def take_letters(self, purpose: Purpose, limit: int, lease: float) -> list[DeadLetter]:
        self.looks += 1
        return await super().take_letters(purpose, limit, lease)


async def test_short_receives_look_once_per_poll() -> None:
    """A worker on a queue in memory receives twenty times a second; each look would be a query and a change of threads."""
    clock = ManualClock()
    ledger = CountingLedger("one", clock)
    queue = RedriveQueue(ledger, clock, poll=1.0)
    for _ in range(40):
        receiving = asyncio.create_task(queue.receive(10, 0.05))
        await clock.advance(0.05)
        assert await receiving == []
    assert ledger.looks <= 3, "two seconds have passed"
    await ledger.add_dead_letters([LETTER])
    await ledger.redrive(Filter())
    receiving = asyncio.create_task(queue.receive(10, 5.0))
    await clock.advance(1.0)
    (message,) = await receiving
    assert message.body == LETTER.body


async def test_letters_that_were_found_do_not_delay_the_next_look() -> None:
    clock = ManualClock()
    ledger = CountingLedger("one", clock)
    queue = RedriveQueue(ledger, clock, poll=1.0)
    await ledger.add_dead_letters([LETTER])
    await ledger.redrive(Filter())
    assert len(await queue.receive(10, 0)) == 1
    assert await queue.receive(10, 0) == []
    assert ledger.looks == 2
