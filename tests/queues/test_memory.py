"""The memory queue keeps the contract, and can be replayed."""

from __future__ import annotations

import asyncio

import pytest

from skyferry.ports import EventQueue, Outgoing
from skyferry.queues.memory import MemoryQueue, QueueState
from skyferry.queues.notifier import Notifier
from skyferry.testing.clock import ManualClock
from skyferry.testing.queue import QueueConformance, QueueHarness


class MemoryHarness(QueueHarness):
    """Clients that share a state."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.state = QueueState()

    async def open(self) -> EventQueue:
        return MemoryQueue("memory", self.clock, self.timing.lease, self.state)

    async def pass_time(self, seconds: float) -> None:
        await self.clock.advance(seconds)


class TestMemoryQueue(QueueConformance):
    """The contract."""

    @pytest.fixture
    def harness(self) -> QueueHarness:
        return MemoryHarness()


async def test_a_queue_without_a_state_is_alone() -> None:
    """Two queues of one name share nothing unless they are given the same state."""
    clock = ManualClock()
    await MemoryQueue("q", clock).send([Outgoing(b"x")])
    assert await MemoryQueue("q", clock).receive(1, 0) == []


async def test_leases_that_are_acked_leave_no_trace() -> None:
    """A hundred thousand messages that come and go within one lease do not pile up behind one that is held."""
    clock, state = ManualClock(), QueueState()
    queue = MemoryQueue("q", clock, state=state)
    await queue.send([Outgoing(b"held")])
    await queue.receive(1, 0)
    for _ in range(100):
        await queue.send([Outgoing(b"x")] * 1000)
        await queue.ack(await queue.receive(1000, 0))
    assert len(state._hidden) < 10_000


async def test_waits_leave_no_trace() -> None:
    """However a wait ends."""
    clock, notifier = ManualClock(), Notifier()
    for end in (notifier.notify, lambda: None):
        wait = asyncio.create_task(notifier.wait(notifier.count, clock, 1))
        await asyncio.sleep(0)
        end()
        await clock.advance(1)
        await wait
    assert not notifier._waiting
