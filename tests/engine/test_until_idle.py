"""When a service that runs until it is idle ends."""

from __future__ import annotations

import asyncio
from pathlib import Path

from skyferry.clock import SystemClock
from skyferry.config.load import load
from skyferry.errors import QueueError
from skyferry.ports import Message
from skyferry.queues.memory import MemoryQueue
from skyferry.records import Record
from skyferry.wiring import build_service

FAILURES = 2


class Deaf:
    """An observer that needs nothing."""

    def on(self, record: Record) -> None:
        """Ignore a record."""


class Refusing(MemoryQueue):
    """A queue that says that it has no messages, and gives none at first: another consumer has them."""

    receives = 0

    async def receive(self, limit: int, wait: float) -> list[Message]:
        self.receives += 1
        if self.receives <= FAILURES:
            raise QueueError("filtered consumer not unique")
        return await super().receive(limit, wait)


async def test_a_queue_that_gives_no_messages_is_not_empty(tmp_path: Path) -> None:
    """Its depth is zero, but each receive fails."""
    for name in ("source", "destination"):
        (tmp_path / name).mkdir()
    queue = Refusing("events", SystemClock())
    async with build_service(load(None, {}, tmp_path), Deaf(), queues=(queue,)) as service, asyncio.timeout(60):
        await service.run(until_idle=True)
    assert queue.receives > FAILURES
