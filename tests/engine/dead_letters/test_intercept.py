"""A dead letter that returns in a message is redriven once per death. Forged attributes have no effect."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest

from skyferry.engine.dead_letters.intercept import InterceptingQueue
from skyferry.engine.dead_letters.redrive import DeadLetterRedriver, RedriveCounts, RedriveQueue
from skyferry.engine.telemetry import Reporter
from skyferry.errors import LedgerError, QueueError
from skyferry.ledgers.memory.ledger import MemoryLedger
from skyferry.ports import DeadLetter, Filter, Message, Outgoing, letter_attributes
from skyferry.queues.dead_letter_sink import QueueDeadLetters
from skyferry.queues.memory import MemoryQueue
from skyferry.records import Record
from skyferry.testing.clock import ManualClock

LETTER = DeadLetter(
    id="0123456789abcdef0123456789abcdef",
    at=1_700_000_000.123,
    queue="second",
    reason="unknown_format",
    message="what?",
    hint="",
    body=b"\xff raw",
    attributes=(("eventType", "OBJECT_FINALIZE"),),
)
ALL = Filter()


class Scene:
    """A ledger with one letter, the queue that it came from, and the one that it was sent to."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.ledger = MemoryLedger("one", self.clock)
        self.events, self.dead = MemoryQueue("events", self.clock), MemoryQueue("dead", self.clock)
        self.records: list[Record] = []
        self.queue = InterceptingQueue(self.events, self.ledger, Reporter(self, self.clock))
        self.sent: list[tuple[str, Outgoing]] = []

    def on(self, record: Record) -> None:
        self.records.append(record)

    async def bury(self, letter: DeadLetter = LETTER) -> Outgoing:
        """In the ledger and in the queue; the message as it is there."""
        await self.ledger.add_dead_letters([letter])
        await QueueDeadLetters(self.dead).publish([letter])
        (message,) = await self.dead.receive(1, 0)
        await self.dead.release([message], 0)
        return Outgoing(message.body, message.attributes)

    async def list_returns(self) -> list[str]:
        return [record.reason for record in self.records if record.event == "dead_letter.returned"]

    async def send(self, queue: str, messages: Sequence[Outgoing]) -> None:
        self.sent += [(queue, message) for message in messages]

    async def fetch(self, limit: int = 100, wanted: bool = True) -> RedriveCounts:
        async def pass_time() -> None:
            while True:
                await self.clock.advance(1)

        helper = asyncio.create_task(pass_time())
        try:
            return await DeadLetterRedriver(self.ledger, self.dead, self.send, limit).redrive(lambda message: wanted)
        finally:
            helper.cancel()


@pytest.fixture
def scene() -> Scene:
    return Scene()


async def test_a_letter_moved_back_is_redriven_once(scene: Scene) -> None:
    """Its message is acked; the ledger hands the letter out. A copy of it is stale."""
    moved = await scene.bury()
    await scene.events.send([moved, moved])
    assert await scene.queue.receive(10, 0) == []
    assert sorted(await scene.list_returns()) == ["redriven", "stale"]
    assert (await scene.events.depth()).leased == 0
    (again,) = await RedriveQueue(scene.ledger, scene.clock).receive(10, 0)
    assert again.body == LETTER.body


async def test_a_copy_of_an_earlier_death_redrives_nothing(scene: Scene) -> None:
    """It died again after it was redriven: that is another death."""
    moved = await scene.bury()
    await scene.ledger.redrive(ALL)
    await scene.bury(replace(LETTER, at=LETTER.at + 1))
    await scene.events.send([moved])
    assert await scene.queue.receive(10, 0) == []
    assert await scene.list_returns() == ["stale"]
    assert await scene.ledger.count_redriven() == 0


async def test_a_message_whose_letter_is_gone_is_an_event_like_any_other(scene: Scene) -> None:
    """Redriven and done, discarded, or of another ledger: what is done already the ledger knows by its transfers.

    A mark says that it was a letter.
    """
    moved = await scene.bury()
    await scene.ledger.discard(ALL)
    await scene.events.send([moved])
    (message,) = await scene.queue.receive(10, 0)
    assert (message.body, letter_attributes.strip_own(message.attributes)) == (LETTER.body, LETTER.attributes)
    assert dict(message.attributes)[letter_attributes.FOREIGN] == LETTER.id
    assert await scene.list_returns() == []


@pytest.mark.parametrize("died", ["1700000000.5", "nan", "inf", "-1", "never", None])
async def test_attributes_of_others_are_not_trusted(scene: Scene, died: str | None) -> None:
    """With another body the message is what its body says, and the letter stays dead; of another time, nothing happens."""
    await scene.bury()
    forged = tuple((n, v) for n, v in (("skyferry-dead-letter", LETTER.id), ("skyferry-died-at", died)) if v)
    await scene.events.send([Outgoing(b"an event", (*forged, ("skyferry-queue", "other"), ("mine", "x")))])
    (message,) = await scene.queue.receive(10, 0)
    assert (message.body, message.attributes) == (b"an event", (("mine", "x"), (letter_attributes.FOREIGN, LETTER.id)))
    await scene.events.ack([message])
    await scene.events.send([Outgoing(LETTER.body, forged)])
    await scene.queue.receive(10, 0)
    assert await scene.ledger.count_redriven() == 0
    assert await scene.ledger.get_dead_letter(LETTER.id) == LETTER


@pytest.mark.parametrize(
    ("name", "died"),
    [(n, "1.5") for n in ("", "\0", "ü", "\ud800", "x" * 129)]
    + [("x", t) for t in ("", "nan", "inf", "-1", "1e300", "x")],
)
def test_attributes_that_no_ledger_writes_name_no_death(name: str, died: str) -> None:
    assert letter_attributes.parse_reference((("skyferry-dead-letter", name), ("skyferry-died-at", died))) is None


async def test_where_the_ledger_does_not_answer_all_of_them_come_again(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = await scene.bury()
    await scene.events.send([moved, Outgoing(b"an event")])

    async def fail(name: str) -> None:
        raise LedgerError("not now")

    with monkeypatch.context() as patched:
        patched.setattr(scene.ledger, "get_dead_letter", fail)
        with pytest.raises(LedgerError):
            await scene.queue.receive(10, 0)
    await scene.clock.advance(2)
    (message,) = await scene.queue.receive(10, 0)
    assert message.body == b"an event"
    assert await scene.ledger.count_redriven() == 1


async def test_an_ack_that_fails_costs_nothing(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others are worked on; the message comes again, and is stale then."""
    moved = await scene.bury()
    await scene.events.send([moved, Outgoing(b"an event")])

    async def fail(messages: Sequence[Message]) -> None:
        raise QueueError("not now")

    with monkeypatch.context() as patched:
        patched.setattr(scene.events, "ack", fail)
        (message,) = await scene.queue.receive(10, 0)
    assert message.body == b"an event"
    await scene.clock.advance(60)
    await scene.queue.receive(10, 0)
    assert await scene.list_returns() == ["redriven", "stale"]


async def test_messages_with_one_receipt_are_distinguished(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """As Azure gives them: what came beside a dead letter is worked on."""
    await scene.events.send([await scene.bury(), Outgoing(b"an event")])
    found = [replace(message, receipt="same") for message in await scene.events.receive(10, 0)]

    async def receive(limit: int, wait: float) -> list[Message]:
        return found

    monkeypatch.setattr(scene.events, "receive", receive)
    assert [message.body for message in await scene.queue.receive(10, 0)] == [b"an event"]


async def test_what_is_redriven_keeps_its_name_and_its_queue(scene: Scene) -> None:
    """Internal attributes do not accumulate, however often it dies."""
    await scene.bury(replace(LETTER, attributes=(*LETTER.attributes, ("skyferry-reason", "old"))))
    await scene.ledger.redrive(ALL)
    (message,) = await RedriveQueue(scene.ledger, scene.clock).receive(10, 0)
    kept = (("skyferry-dead-letter", LETTER.id), ("skyferry-queue", "second"))
    assert message.attributes == (*LETTER.attributes, *kept)


async def test_fetching_redrives_what_the_ledger_has_and_sends_what_it_has_not(scene: Scene) -> None:
    """A message that is no dead letter stays in the queue."""
    other = replace(LETTER, id="f" * 32, body=b"of another ledger")
    await scene.bury()
    await scene.bury(other)
    await scene.ledger.discard(ALL, [other.id])
    await scene.dead.send([Outgoing(b"foreign", (("skyferry-dead-letter", "x"),))])
    assert await scene.fetch() == RedriveCounts(redriven=1, sent=1, stale=0, left=1)
    assert scene.sent == [("second", Outgoing(b"of another ledger", LETTER.attributes))]
    assert (await scene.dead.depth()).ready == 1
    assert await scene.fetch() == RedriveCounts(left=1)


async def test_fetching_stops_at_the_limit_and_takes_only_what_is_wanted(scene: Scene) -> None:
    for number in range(3):
        await scene.bury(replace(LETTER, id=f"{number}"))
    assert await scene.fetch(wanted=False) == RedriveCounts(left=3)
    assert await scene.fetch(limit=2) == RedriveCounts(redriven=2)
    assert await scene.fetch() == RedriveCounts(redriven=1)


async def test_a_letter_leaves_the_queue_only_after_its_effect(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """It could not be sent on: it is there still."""
    await scene.bury()
    await scene.ledger.discard(ALL)

    async def fail(queue: str, messages: Sequence[Outgoing]) -> None:
        raise QueueError("not now")

    with monkeypatch.context() as patched:
        patched.setattr(scene, "send", fail)
        with pytest.raises(QueueError):
            await scene.fetch()
    assert (await scene.dead.depth()).ready == 1
