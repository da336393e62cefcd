"""When a service that runs until it is idle ends."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from skyferry.clock import SystemClock
from skyferry.config.load import load
from skyferry.engine import queue_health
from skyferry.engine.queue_health import MonitoredQueue, QueueWatch
from skyferry.errors import QueueError
from skyferry.ports import Depth, Message
from skyferry.queues.memory import MemoryQueue
from skyferry.records import Record
from skyferry.testing.clock import ManualClock
from skyferry.wiring import build_service

FAILURES = 2
DOWN = "no route to host"


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


class Unreachable(MemoryQueue):
    """A queue at a server that does not answer."""

    async def receive(self, limit: int, wait: float) -> list[Message]:
        raise QueueError(DOWN)

    async def depth(self) -> Depth:
        raise QueueError(DOWN)


async def test_a_queue_that_stays_down_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A script gets an exit code instead of a command that never ends, also while a source has events for that queue."""
    monkeypatch.setattr(queue_health, "UNREACHABLE", 0.5)
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "k").write_text("x")
    queue = Unreachable("events", SystemClock())
    async with build_service(load(None, {}, tmp_path), Deaf(), queues=(queue,)) as service, asyncio.timeout(60):
        with pytest.raises(ExceptionGroup) as ended:
            await service.run(until_idle=True)
    assert ended.group_contains(QueueError, match=f"^events: down for 0.5 s: {DOWN}")


async def test_a_queue_that_answers_in_between_is_waited_for() -> None:
    """Such as at a failover."""
    clock = ManualClock()
    queue = MonitoredQueue(MemoryQueue("events", clock), clock)
    watch = QueueWatch([queue], clock)
    for failure in ("reset", "", "reset"):
        queue.health.answered, queue.health.failure = clock.monotonic(), failure
        watch.check()
        await clock.advance(queue_health.UNREACHABLE - 1)
        watch.check()
    await clock.advance(2)
    with pytest.raises(QueueError, match="down for 30 s: reset"):
        watch.check()
