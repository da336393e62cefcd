"""A message that triggers a bug becomes a dead letter; the others are processed."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from tests.engine.consume.test_queue_down import idle

from skyferry.errors import UnknownFormat
from skyferry.events.detect import Parsed
from skyferry.events.fields import Delivery
from skyferry.ports import Filter, Outgoing
from skyferry.queues.memory import MemoryQueue
from skyferry.testing.clock import ManualClock


class Surprised:
    """Meets a bug in one message, and an event that is none in another."""

    def parse(self, body: bytes, attributes: Mapping[str, str], delivery: Delivery) -> Parsed:
        if body == b"bug":
            raise RecursionError("too deep")
        raise UnknownFormat


async def test_a_bug_in_parsing_ends_nothing() -> None:
    """Its message is kept with the bug's name, and the next one is read."""
    clock = ManualClock()
    queue = MemoryQueue("events", clock)
    worker = idle(clock, queue)
    worker._intake._reader = Surprised()  # type: ignore[assignment]  # it matches nothing, for nothing is parsed
    await queue.send([Outgoing(b"bug"), Outgoing(b"other"), Outgoing(b"bug")])
    running = asyncio.create_task(worker.run())
    await clock.advance(1)
    letters = (await worker._context.ledger.list_dead_letters(Filter())).items
    assert sorted((letter.body, letter.reason) for letter in letters) == [
        (b"bug", "internal_error"),
        (b"bug", "internal_error"),
        (b"other", "unknown_format"),
    ]
    assert "RecursionError: too deep" in {letter.message.partition(" (")[0] for letter in letters}
    assert (await queue.depth()).leased == 0
    worker.drain()
    await clock.advance(1)
    await running
