"""When a service that runs until it is idle ends."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

import pytest

from skyferry.clock import SystemClock
from skyferry.config.load import load
from skyferry.engine import queue_health
from skyferry.engine import service as service_module
from skyferry.engine.consume.worker import Worker
from skyferry.engine.queue_health import MonitoredQueue, OutageWatch
from skyferry.engine.resilience.monitor import CheckReporter
from skyferry.errors import QueueError
from skyferry.ports import Clock, Depth, Message
from skyferry.queues.memory import MemoryQueue
from skyferry.records import Record
from skyferry.testing.clock import ManualClock
from skyferry.wiring import build_service
from skyferry.wiring.service import QUICK_CHECK

FAILURES = 2
DOWN = "no route to host"


class Deaf:
    """An observer that needs nothing."""

    def on(self, record: Record) -> None:
        """Ignore a record."""


async def test_a_busy_command_looks_rarely_whether_work_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A look every 5 ms cost a sixth of the CPU of a copy of large objects. The end is still noticed soon."""
    clock, looks, busy_for = SystemClock(), [0.0], 1.5
    began = clock.monotonic()
    monkeypatch.setattr(Worker, "idle", property(lambda _: clock.monotonic() - began > busy_for))
    monkeypatch.setattr(OutageWatch, "check", lambda _: looks.append(clock.monotonic() - began))
    async with build_service(load(None, {}, tmp_path), Deaf(), find=lambda _: []) as service, asyncio.timeout(60):
        await service.run(until_idle=True)
    busy = [look for look in looks if look < busy_for]
    assert len(busy) < 0.9 * busy_for / QUICK_CHECK
    assert len(looks) - len(busy) <= 3  # it ends after two looks at an idle worker


async def test_the_pause_grows_with_the_time_so_far() -> None:
    watched = Watched()
    pauses = []
    for seconds in (0, 1, 1, 6, 100):
        await watched.clock.advance(seconds)
        pauses.append(watched.watch.choose_pause(0.005, busy=True))
    assert pauses == pytest.approx([0.005, 0.01, 0.02, 0.08, 0.1])
    assert watched.watch.choose_pause(0.005, busy=False) == 0.005


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


async def test_the_checks_are_looked_at_less_often_while_nothing_is_in_flight(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each look takes most of a millisecond, and the API and a scrape make their own."""
    looks = list[None]()
    monkeypatch.setattr(service_module, "SAMPLE", 0.0)
    monkeypatch.setattr(CheckReporter, "report", lambda self, checks: looks.append(None))
    (tmp_path / "source").mkdir()
    queue = Counting("events", SystemClock())
    async with build_service(load(None, {}, tmp_path), Deaf(), queues=(queue,), create=True) as service:
        running = asyncio.create_task(service.run())
        async with asyncio.timeout(60):
            await queue.asked_often.wait()
        service.drain()
        await running
    assert len(looks) == 1


class Counting(MemoryQueue):
    """An empty queue that is asked again and again."""

    receives = 0

    def __init__(self, name: str, clock: Clock) -> None:
        super().__init__(name, clock)
        self.asked_often = asyncio.Event()

    async def receive(self, limit: int, wait: float) -> list[Message]:
        self.receives += 1
        if self.receives == 20:
            self.asked_often.set()
        return await super().receive(limit, 0.01)


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


class Switched(MemoryQueue):
    """A queue that answers or not."""

    down = False

    async def receive(self, limit: int, wait: float) -> list[Message]:
        if self.down:
            raise QueueError("reset")
        return []


class Watched:
    """Two queues and their watch."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.inner = [Switched(name, self.clock) for name in ("one", "two")]
        self.queues = [MonitoredQueue(queue, self.clock) for queue in self.inner]
        self.watch = OutageWatch(self.queues, self.clock)

    async def receive(self, *down: bool) -> None:
        """Receive from each."""
        for queue, inner, is_down in zip(self.queues, self.inner, down, strict=True):
            inner.down = is_down
            with suppress(QueueError):
                await queue.receive(1, 0)
        self.watch.check()

    async def wait(self, seconds: float) -> None:
        """Look every second."""
        for _ in range(round(seconds)):
            await self.clock.advance(1)
            self.watch.check()


async def test_a_queue_that_answers_in_between_is_waited_for() -> None:
    """Such as at a failover."""
    watched = Watched()
    for down in (True, False, True):
        await watched.receive(down, False)
        await watched.wait(queue_health.UNREACHABLE - 1)
    await watched.wait(2)
    with pytest.raises(QueueError, match="one: down for 30 s: reset"):
        await watched.receive(True, False)


async def test_one_failure_is_not_an_outage_of_the_time_until_the_next_receive() -> None:
    """As after a Retry-After, or while large objects take all room."""
    watched = Watched()
    await watched.receive(True, False)
    await watched.wait(10 * queue_health.UNREACHABLE)
    await watched.receive(False, False)


async def test_queues_that_are_down_in_turn_are_not_down_for_the_sum() -> None:
    watched = Watched()
    for turn in range(4):
        await watched.receive(turn % 2 == 0, turn % 2 == 1)
        await watched.wait(queue_health.UNREACHABLE - 10)
