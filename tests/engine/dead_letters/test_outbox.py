"""Dead letters are published at least once, whatever fails and whenever the process dies, and delay no other work."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import replace

from skyferry.engine.context import EngineContext
from skyferry.engine.dead_letters.outbox import LEASE, Outbox
from skyferry.errors import LedgerError, QueueError
from skyferry.ledgers.memory.ledger import MemoryLedger
from skyferry.ledgers.memory.state import MemoryState
from skyferry.ports import DeadLetter, DeadLetterRef, Purpose
from skyferry.records import Record
from skyferry.retry import Backoff
from skyferry.testing.clock import ManualClock

LETTER = DeadLetter("1", 1_700_000_000.5, "events", "unknown_format", "what?", "", b"\xff", ())


class Sink:
    """Remembers what came, unless it is down or refuses it."""

    def __init__(self) -> None:
        self.down = False
        self.refused: set[str] = set()
        self.sent: list[str] = []

    async def publish(self, letters: Sequence[DeadLetter]) -> None:
        if self.down or self.refused & {letter.id for letter in letters}:
            raise QueueError("not now")
        self.sent += [letter.id for letter in letters]

    async def close(self) -> None:
        """Nothing is open."""


class Forgetful(MemoryLedger):
    """Its process dies after the letters were sent and before that was recorded."""

    async def finish_letters(self, purpose: Purpose, letters: Sequence[DeadLetterRef]) -> None:
        raise LedgerError("killed")


class Scene:
    """A ledger that outlives its processes, a sink, and a clock."""

    def __init__(self) -> None:
        self.clock, self.state, self.sink = ManualClock(), MemoryState(), Sink()
        self.records: list[Record] = []
        self.ledger = MemoryLedger("outside", self.clock, state=self.state)

    def on(self, record: Record) -> None:
        self.records.append(record)

    def outbox(self, kind: type[MemoryLedger] = MemoryLedger) -> Outbox:
        """That of a new process."""
        ledger = kind("one", self.clock, state=self.state)
        context = EngineContext(ledger, {}, {}, self.clock, random.Random(1), self)
        return Outbox(context, self.sink, Backoff(1.0, 60.0))

    async def bury(self, *names: str) -> None:
        await self.ledger.add_dead_letters([replace(LETTER, id=name) for name in names])


async def test_each_letter_is_sent_once_where_nothing_fails() -> None:
    """In batches; a second look finds nothing."""
    scene = Scene()
    names = [f"{n}" for n in range(250)]
    await scene.bury(*names)
    outbox = scene.outbox()
    for _ in range(2):
        await outbox.flush()
    assert scene.sink.sent == names
    assert [(r.event, r.count) for r in scene.records] == [("dead_letter.published", n) for n in (100, 100, 50)]


async def test_a_crash_between_sending_and_recording_sends_again() -> None:
    """By the next process, once the lease of the first has ended."""
    scene = Scene()
    await scene.bury("1")
    await scene.outbox(Forgetful).flush()
    assert scene.sink.sent == ["1"]
    await scene.outbox().flush()
    assert scene.sink.sent == ["1"]
    await scene.clock.advance(LEASE + 1)
    await scene.outbox().flush()
    assert scene.sink.sent == ["1", "1"]


async def test_a_crash_before_sending_loses_nothing() -> None:
    """The process died with the letters in hand."""
    scene = Scene()
    await scene.bury("1")
    assert len(await scene.ledger.take_letters(Purpose.PUBLISH, 10, LEASE)) == 1
    await scene.clock.advance(LEASE + 1)
    await scene.outbox().flush()
    assert scene.sink.sent == ["1"]


async def test_while_the_sink_is_down_letters_wait() -> None:
    """They go once it is back. The failures are reported, ever more rarely."""
    scene = Scene()
    scene.sink.down = True
    await scene.bury(*(f"{n}" for n in range(10)))
    outbox = scene.outbox()
    for _ in range(20):
        await outbox.flush()
        await scene.clock.advance(5)
    assert scene.sink.sent == []
    assert {(r.event, r.error) for r in scene.records} == {("dead_letter.publish_failed", "queue_error")}
    scene.sink.down = False
    await outbox.flush()
    assert sorted(scene.sink.sent, key=int) == [f"{n}" for n in range(10)]


async def test_the_pauses_grow_while_the_sink_is_down() -> None:
    """So that it is not asked each second for hours."""
    scene = Scene()
    scene.sink.down = True
    await scene.bury("1")
    running = asyncio.create_task(scene.outbox().run())
    await scene.clock.advance(3600)
    running.cancel()
    assert 60 <= len(scene.records) <= 240


async def test_a_letter_that_is_refused_holds_up_no_other() -> None:
    """It stays in the ledger, and is tried again."""
    scene = Scene()
    scene.sink.refused = {"3"}
    await scene.bury(*(f"{n}" for n in range(8)))
    outbox = scene.outbox()
    for _ in range(8):
        await outbox.flush()
        await scene.clock.advance(1)
    assert sorted(scene.sink.sent) == ["0", "1", "2", "4", "5", "6", "7"]
    scene.sink.refused = set()
    await outbox.flush()
    assert "3" in scene.sink.sent
