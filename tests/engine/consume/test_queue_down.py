"""A queue that cannot be reached is asked ever more seldom, and a shutdown does not wait for it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from types import SimpleNamespace

import pytest
from tests.engine.copy.test_multipart import SETTINGS

from skyferry.engine.consume.in_flight import LeasedMessage
from skyferry.engine.consume.intake import EventReader
from skyferry.engine.consume.worker import Worker, WorkerPolicy
from skyferry.engine.context import EngineContext
from skyferry.engine.copy.copier import Copier
from skyferry.engine.copy.digests import InlineOffload
from skyferry.engine.copy.strategy import PartLimits
from skyferry.engine.resilience.memory_budget import MemoryBudget
from skyferry.errors import LedgerError, QueueError
from skyferry.ledgers.memory.ledger import MemoryLedger
from skyferry.ports import Message, Outgoing
from skyferry.queues.memory import MemoryQueue, QueueState
from skyferry.records import Record
from skyferry.routing.routes import Routes
from skyferry.testing.clock import ManualClock


class Down(MemoryQueue):
    """A queue that never answers."""

    asked = 0

    async def receive(self, limit: int, wait: float) -> list[Message]:
        self.asked += 1
        raise QueueError


class Forgetful(Down):
    """Its messages cannot be looked up."""

    async def receive(self, limit: int, wait: float) -> list[Message]:
        raise LedgerError("disk full")


class Kept(MemoryQueue):
    """Counts its heartbeats."""

    extended = 0

    async def extend(self, messages: Sequence[Message], seconds: float = 0.0) -> list[Message]:
        self.extended += 1
        return []


class Hung(MemoryQueue):
    """Answers no heartbeat."""

    async def extend(self, messages: Sequence[Message], seconds: float = 0.0) -> list[Message]:
        await asyncio.Event().wait()
        return []


class Longest:
    """Each delay is as long as it can be."""

    def random(self) -> float:
        return 1.0


def idle(
    clock: ManualClock, *queues: MemoryQueue, heard: list[Record] | None = None, policy: WorkerPolicy | None = None
) -> Worker:
    """A worker that has nothing to copy. Its records are in `heard`."""
    routes, observer = Routes(SETTINGS), SimpleNamespace(on=[].append if heard is None else heard.append)
    context = EngineContext(MemoryLedger("one", clock), routes.by_name, {}, clock, Longest(), observer)  # type: ignore[arg-type]  # all that is asked of it
    copier = Copier({}, MemoryBudget(1), InlineOffload(), clock, PartLimits())
    return Worker(context, EventReader(routes), copier, queues, policy or WorkerPolicy())


async def test_it_is_asked_ever_more_seldom() -> None:
    """The delays double up to a minute: 1, 2, 4, 8, 16, 32, 60, 60 ... seconds."""
    clock = ManualClock()
    queue = Down("events", clock)
    worker = idle(clock, queue)
    running = asyncio.create_task(worker.run())
    await clock.advance(62)
    assert queue.asked == 6
    await clock.advance(600)
    assert queue.asked == 16
    worker.drain()
    await clock.advance(1)
    await running


@pytest.mark.parametrize(("kind", "event"), [(Down, "queue.failed"), (Forgetful, "ledger.failed")])
async def test_a_failure_is_reported_by_the_name_of_its_part(kind: type[Down], event: str) -> None:
    """A full disk of the ledger is no failure of a queue."""
    clock, heard = ManualClock(), list[Record]()
    worker = idle(clock, kind("events", clock), heard=heard)
    running = asyncio.create_task(worker.run())
    await clock.advance(0)
    assert [(record.event, record.queue) for record in heard] == [(event, "events")]
    worker.drain()
    await clock.advance(1)
    await running


async def test_one_that_hangs_ends_no_lease_of_another() -> None:
    """Messages of both are in hand, and the other's are extended three times within its lease."""
    clock = ManualClock()
    hung, kept = Hung("hung", clock), Kept("kept", clock, lease=30.0)
    worker = idle(clock, hung, kept)
    in_hand = (LeasedMessage(queue, Message("m", b"", "r", 1, 0.0, 30.0)) for queue in (hung, kept))
    worker._in_flight.add_messages(in_hand)
    running = asyncio.create_task(worker.run())
    await clock.advance(61)
    assert kept.extended == 6
    running.cancel()
    await asyncio.wait([running])


class Mute(MemoryQueue):
    """Answers neither a receive nor a release."""

    async def receive(self, limit: int, wait: float) -> list[Message]:
        await asyncio.Event().wait()
        return []

    async def release(self, messages: Sequence[Message], delay: float) -> None:
        await asyncio.Event().wait()


async def test_a_drain_does_not_wait_for_a_queue_that_hangs() -> None:
    """A moment for what it might still bring; and the grace time for what it should take back."""
    clock = ManualClock()
    queue = Mute("events", clock)
    worker = idle(clock, queue)
    running = asyncio.create_task(worker.run())
    await clock.advance(10)
    worker.drain()
    await clock.advance(5)
    assert running.done()

    worker = idle(clock, queue)
    leased = LeasedMessage(queue, Message("m", b"", "r", 1, 0.0, 30.0), retry_at=0.0)
    worker._in_flight.add_messages([leased])
    worker._acks.finish([leased])
    running = asyncio.create_task(worker.run())
    worker.drain()
    await clock.advance(40)
    assert running.done()


class Stubborn(MemoryQueue):
    """Goes on waiting when its receive is cancelled, as a client library may."""

    async def receive(self, limit: int, wait: float) -> list[Message]:
        for _ in range(2):
            with suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
        return []


@pytest.mark.parametrize("in_memory", [True, False])
async def test_a_receive_that_ignores_its_cancellation_does_not_hold_a_drain_up(*, in_memory: bool) -> None:
    clock = ManualClock()
    worker = idle(clock, Stubborn("events", clock), policy=WorkerPolicy(in_memory=in_memory))
    running = asyncio.create_task(worker.run())
    await clock.advance(1)
    worker.drain()
    await clock.advance(0 if in_memory else 5)
    assert running.done()


@pytest.mark.parametrize("in_memory", [True, False])
@pytest.mark.parametrize("steps", range(8))
async def test_a_message_that_comes_just_after_a_drain_is_for_another_worker(*, in_memory: bool, steps: int) -> None:
    """It is not processed, in any step of the event loop, and it comes again without waiting for the end of a lease."""
    clock, state = ManualClock(), QueueState()
    queue = MemoryQueue("events", clock, state=state)
    worker = idle(clock, queue, policy=WorkerPolicy(in_memory=in_memory, poll=60.0))
    running = asyncio.create_task(worker.run())
    await clock.advance(1)

    worker.drain()
    for _ in range(steps):
        await asyncio.sleep(0)
    await queue.send([Outgoing(b"late")])
    await clock.advance(70)

    assert running.done()
    assert (await queue.depth()).ready == 1
    (message,) = await MemoryQueue("events", clock, state=state).receive(1, 0)
    assert message.body == b"late"


async def test_a_drain_ends_receives_of_a_queue_in_memory_at_once() -> None:
    """No time passes, and a message that was sent meanwhile stays in the queue."""
    clock, state = ManualClock(), QueueState()
    queue = MemoryQueue("events", clock, state=state)
    worker = idle(clock, queue, policy=WorkerPolicy(in_memory=True, poll=60.0))
    running = asyncio.create_task(worker.run())
    await clock.advance(1)

    worker.drain()
    await queue.send([Outgoing(b"late")])
    await clock.advance(0)

    assert running.done()
    depth = await MemoryQueue("events", clock, state=state).depth()
    assert depth.ready + depth.delayed + depth.leased == 1
