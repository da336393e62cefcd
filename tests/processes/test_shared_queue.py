"""The queue in the memory of the parent keeps the contract, and loses nothing with a child."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from skyferry.errors import QueueError
from skyferry.model import Change, ObjectEvent, ObjectRef, Provider
from skyferry.ports import EventQueue, Outgoing
from skyferry.processes.channel import pickle_frame
from skyferry.processes.shared_queue import Answer, Call, QueueClient, QueueServer
from skyferry.queues.memory import MemoryQueue, QueueState
from skyferry.testing.clock import ManualClock
from skyferry.testing.queue import QueueConformance, QueueHarness


class Wire:
    """A channel between one child and the parent: frames in order, pickled as they are by `Channel`."""

    def __init__(self, state: QueueState, clock: ManualClock, lease: float) -> None:
        self.server = QueueServer(MemoryQueue("shared", clock, lease, state), self._send_answer)
        self.client = QueueClient("shared", lease, self._send_call)
        self._calls: asyncio.Queue[bytes] = asyncio.Queue()
        self._task = asyncio.create_task(self._serve())

    def _send_call(self, call: Call) -> None:
        self._calls.put_nowait(pickle_frame("call", call))

    def _send_answer(self, answer: Answer) -> None:
        (_, received) = pickle.loads(pickle_frame("answer", answer))
        asyncio.get_running_loop().call_soon(self.client.take_answer, received)

    async def _serve(self) -> None:
        while True:
            (_, call) = pickle.loads(await self._calls.get())
            await self.server.take_call(call)

    async def end(self) -> None:
        """End like the channel of a child that is killed."""
        self._task.cancel()
        await self.server.close()


class SharedHarness(QueueHarness):
    """Children of one parent."""

    def __init__(self) -> None:
        self.clock, self.state = ManualClock(), QueueState()
        self.wires: list[Wire] = []

    async def open(self) -> EventQueue:
        self.wires.append(Wire(self.state, self.clock, self.timing.lease))
        return self.wires[-1].client

    async def pass_time(self, seconds: float) -> None:
        for _ in range(10):  # let calls arrive
            await asyncio.sleep(0)
        await self.clock.advance(seconds)


class TestSharedQueue(QueueConformance):
    """The contract."""

    @pytest.fixture
    def harness(self) -> QueueHarness:
        return SharedHarness()


@pytest.fixture
async def harness() -> SharedHarness:
    return SharedHarness()


async def test_the_messages_of_a_killed_child_come_to_the_others_at_once(harness: SharedHarness) -> None:
    one, two = await harness.open(), await harness.open()
    await one.send([Outgoing(b"a"), Outgoing(b"b")])
    (first, _) = await one.receive(2, 0)
    await one.ack([first])
    await harness.wires[0].end()
    assert [message.body for message in await two.receive(2, 0)] == [b"b"]


async def test_events_arrive_as_they_are(harness: SharedHarness) -> None:
    """Also what a message from outside could not say."""
    ref = ObjectRef(Provider.FILE, "in", "k")
    event = ObjectEvent("id", Change.CREATED, ref, 1.5, destination=ref, absent=True)
    queue = await harness.open()
    await queue.send([Outgoing(b"", event=event)])
    (message,) = await queue.receive(1, 0)
    assert message.event == event


@pytest.mark.parametrize("call", [lambda queue: queue.receive(1, 60), lambda queue: queue.depth()])
async def test_calls_fail_when_the_parent_ends(harness: SharedHarness, call: Callable[[EventQueue], Any]) -> None:
    queue = await harness.open()
    wire = harness.wires[0]
    wire._task.cancel()
    waiting = asyncio.ensure_future(call(queue))
    await asyncio.sleep(0)
    wire.client.fail()
    with pytest.raises(QueueError):
        await waiting
    with pytest.raises(QueueError):
        await call(queue)


async def test_an_answer_that_crosses_a_cancellation_is_ignored(harness: SharedHarness) -> None:
    """Its messages come to another child at the end of this one."""
    queue, other = await harness.open(), await harness.open()
    waiting = asyncio.create_task(queue.receive(1, 60))
    await harness.pass_time(1)
    (number,) = harness.wires[0].client._calls
    waiting.cancel()
    await asyncio.wait([waiting])
    harness.wires[0].client.take_answer((number, [], None))
    await queue.close()
    await other.send([Outgoing(b"x")])
    assert len(await other.receive(1, 0)) == 1
