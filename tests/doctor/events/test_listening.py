"""A canary among the messages of others, on queue and store in memory."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import orjson

from skyferry.clock import SystemClock
from skyferry.doctor.check import CheckState, CheckSubject
from skyferry.doctor.events.canary import MOST, Canary
from skyferry.doctor.events.verdict import CanaryResult, CanaryTest, ExpectedCopy, send_canary
from skyferry.doctor.stores import write_canary
from skyferry.errors import ConnectionLost, PermissionDenied, QueueError
from skyferry.model import Attributes, Checksums, ObjectMeta
from skyferry.ports import ANY, Message, Outgoing, Precondition
from skyferry.queues.memory import MemoryQueue
from skyferry.stores.memory import MemoryStore

CANARY = "skyferry-doctor/c"
PLACE = CheckSubject("store", "a")


def notification(*keys: str, name: str = "ObjectCreated:Put") -> Outgoing:
    """Return a notification of S3, with a record for each key."""
    records = [
        {
            "eventVersion": "2.1",
            "eventSource": "aws:s3",
            "eventTime": "2026-11-23T10:00:00.000Z",
            "eventName": name,
            "s3": {"bucket": {"name": "bucket"}, "object": {"key": key, "size": 1, "sequencer": "00"}},
        }
        for key in keys
    ]
    return Outgoing(orjson.dumps({"Records": records}))


class NotifyingStore(MemoryStore):
    """A bucket that notifies a queue."""

    def __init__(self, queue: MemoryQueue) -> None:
        super().__init__("a", SystemClock())
        self._queue = queue

    async def write(
        self, key: str, data: bytes, attributes: Attributes, checksums: Checksums, when: Precondition = ANY
    ) -> ObjectMeta:
        made = await super().write(key, data, attributes, checksums, when)
        await self._queue.send([notification(key)])
        return made

    async def delete(self, key: str, when: Precondition = ANY) -> None:
        await super().delete(key, when)
        await self._queue.send([notification(key, name="ObjectRemoved:Delete")])


class Counting(MemoryQueue):
    """Counts the deliveries of each body."""

    def __init__(self) -> None:
        super().__init__("q", SystemClock(), 30.0)
        self.received: list[bytes] = []

    async def receive(self, limit: int, wait: float) -> list[Message]:
        messages = await super().receive(limit, wait)
        self.received += [message.body for message in messages]
        return messages


async def doctored(store: MemoryStore, queue: MemoryQueue, wait: float = 5.0, **errand: Any) -> CanaryResult:
    wanted = {"deletes": True, "removes": False, **errand}
    return await send_canary(
        PLACE, store, [queue], CanaryTest(Canary("bucket", CANARY), wait=wait, **wanted), SystemClock()
    )


def states(found: CanaryResult) -> dict[str, CheckState]:
    return {check.name: check.state for check in found.checks}


async def left(queue: MemoryQueue) -> list[bytes]:
    return [message.body for message in await queue.receive(2000, 0)]


async def test_both_events_are_heard_and_acked_and_the_canary_is_gone() -> None:
    queue = Counting()
    store = NotifyingStore(queue)
    found = await doctored(store, queue)
    assert states(found) == {"delete": CheckState.OK, "event": CheckState.OK, "delete-event": CheckState.OK}
    assert (found.hearing, await left(queue), store.bucket.objects) == (frozenset({"q"}), [], {})


async def test_messages_of_others_are_received_once_and_given_back() -> None:
    """Messages that are no events, are about other keys, or about the canary and other keys."""
    queue = Counting()
    others = [
        Outgoing(b"no event"),
        notification("other"),
        notification(CANARY, "other"),
        Outgoing(b'{"Event": "s3:TestEvent"}'),
    ]
    await queue.send(others)
    found = await doctored(NotifyingStore(queue), queue)
    assert states(found)["event"] is CheckState.OK
    assert [queue.received.count(message.body) for message in others] == [1] * 4
    assert sorted(await left(queue)) == sorted(message.body for message in others)


async def test_a_canary_of_another_bucket_is_another_s() -> None:
    queue = Counting()
    await queue.send([Outgoing(notification(CANARY).body.replace(b'"bucket"}', b'"another"}'))])
    found = await doctored(MemoryStore("a", SystemClock()), queue, wait=0.2)
    assert states(found)["event"] is CheckState.WRONG
    assert len(await left(queue)) == 1


async def test_a_missing_event_is_reported_and_the_canary_deleted() -> None:
    """With how many messages were in the way, and what a running service may do."""
    queue, store = Counting(), MemoryStore("a", SystemClock())
    await queue.send([notification("other")])
    found = await doctored(store, queue, wait=0.2)
    missed = found.checks[-1]
    assert (missed.name, missed.state, store.bucket.objects) == ("event", CheckState.WRONG, {})
    assert "among 1 other messages" in missed.detail
    assert "service" in missed.hint


async def test_a_long_queue_is_left_alone() -> None:
    """It is not known then; nothing was received."""
    queue = Counting()
    await queue.send([Outgoing(b"x")] * (MOST + 1))
    found = await doctored(MemoryStore("a", SystemClock()), queue)
    assert (states(found)["event"], queue.received) == (CheckState.UNKNOWN, [])


async def test_a_source_that_may_not_be_written_is_no_fault() -> None:
    """Its route only reads."""

    class ReadOnly(MemoryStore):
        async def write(self, *_: object, **__: object) -> ObjectMeta:
            raise PermissionDenied

    found = await doctored(ReadOnly("a", SystemClock()), Counting())
    assert states(found) == {"event": CheckState.UNKNOWN}


async def test_a_canary_that_may_not_be_deleted_is_named() -> None:
    """A fault where the route deletes what it has copied."""

    class Keeping(NotifyingStore):
        async def delete(self, key: str, when: Precondition = ANY) -> None:
            raise PermissionDenied

    for removes, state in ((False, CheckState.UNKNOWN), (True, CheckState.WRONG)):
        queue = Counting()
        found = await doctored(Keeping(queue), queue, deletes=False, removes=removes)
        assert states(found)["delete"] is state
    queue = Counting()
    kept = await doctored(Keeping(queue), queue, deletes=False)
    assert CANARY in kept.checks[0].detail


async def test_a_failing_queue_is_reported() -> None:
    class Failing(Counting):
        async def receive(self, limit: int, wait: float) -> list[Message]:
            raise QueueError("AccessDenied: no", hint="grant it")

    found = await doctored(MemoryStore("a", SystemClock()), Failing(), wait=0.5)
    assert (found.checks[-1].detail, found.checks[-1].hint) == ("AccessDenied: no", "grant it")


async def test_an_interrupt_deletes_the_canary_and_gives_all_back() -> None:
    """In the middle of waiting."""
    queue, store = Counting(), MemoryStore("a", SystemClock())
    await queue.send([notification("other")])
    waiting = asyncio.create_task(doctored(store, queue, wait=30))
    while not queue.received:
        await asyncio.sleep(0.01)
    waiting.cancel()
    await asyncio.wait({waiting})
    assert (waiting.cancelled(), store.bucket.objects) == (True, {})
    assert len(await left(queue)) == 1


async def test_a_canary_whose_write_seems_to_fail_is_deleted() -> None:
    """The answer was lost, and the object is there."""

    class Losing(MemoryStore):
        async def write(
            self, key: str, data: bytes, attributes: Attributes, checksums: Checksums, when: Precondition = ANY
        ) -> ObjectMeta:
            await super().write(key, data, attributes, checksums, when)
            raise ConnectionLost

    store = Losing("a", SystemClock())
    assert states(await doctored(store, Counting())) == {"event": CheckState.UNKNOWN}
    assert store.bucket.objects == {}


async def test_a_service_that_takes_the_event_is_seen_by_its_copy() -> None:
    """Which is deleted like the canary itself; what else is under that key stays."""
    a, b, queue = MemoryStore("a", SystemClock()), MemoryStore("b", SystemClock()), Counting()
    await write_canary(b, "copy")
    errand = CanaryTest(Canary("bucket", CANARY), deletes=True, removes=False, wait=5.0)
    found = await send_canary(
        PLACE, a, [queue], errand, SystemClock(), [ExpectedCopy(b, "none"), ExpectedCopy(b, "copy")]
    )
    assert states(found) == {"delete": CheckState.OK, "event": CheckState.OK}
    assert (a.bucket.objects, b.bucket.objects) == ({}, {})
    await b.write("copy", b"else", Attributes(), Checksums())
    short = replace(errand, wait=0.2)
    found = await send_canary(PLACE, a, [queue], short, SystemClock(), [ExpectedCopy(b, "copy")])
    assert (states(found)["event"], list(b.bucket.objects)) == (CheckState.WRONG, ["copy"])


async def test_what_is_pushed_is_seen_by_its_copy_alone() -> None:
    """Without a queue to listen at; and if no service runs it is not known, and no fault."""
    a, b = MemoryStore("a", SystemClock()), MemoryStore("b", SystemClock())
    await write_canary(b, "copy")
    errand = CanaryTest(Canary("bucket", CANARY), deletes=False, removes=False, wait=0.2)
    for state in (CheckState.OK, CheckState.UNKNOWN):
        found = await send_canary(PLACE, a, [], errand, SystemClock(), [ExpectedCopy(b, "copy")])
        assert (states(found)["event"], b.bucket.objects) == (state, {})
