"""Dead letters that come back in a message: moved to their source by the provider, or fetched from where they were sent.

The rule: a message that tells of a death redrives the letter of that very death, once, if the ledger still has it with the
same body. If the letter was redriven since, or has died again since, the message is a copy of what is done, and
nothing happens. Both are acked: the ledger has the letter. Any other message is taken for what is in it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from skyferry.engine.telemetry import Reporter
from skyferry.errors import LedgerError, QueueError
from skyferry.frozen import dataclass
from skyferry.ports import EventQueue, Filter, Ledger, Message, Outgoing, letters
from skyferry.ports.decorators import QueueDecorator

MOMENT = 2.0**-20  # seconds, less than two deaths of one letter are apart
AGAIN = 1.0  # seconds after which messages come again where the ledger did not answer
WAIT = 5.0  # seconds that the first message of a queue may take
BATCH = 100  # messages at once
MOST = 10_000  # messages left there that are looked at


@dataclass(frozen=True, slots=True)
class Returned:
    """What became of messages."""

    redriven: list[Message]  # their letters wait to be processed again
    stale: list[Message]  # the ledger has the letter, which was redriven or has died again since
    unknown: list[Message]  # the ledger has no such letter: nothing was done


async def readmit(ledger: Ledger, messages: Sequence[Message]) -> Returned:
    """Redrive the letters that these messages tell of; durable on return. Raises LedgerError."""
    answers = await asyncio.gather(*(_readmit(ledger, message) for message in messages))
    found = Returned([], [], [])
    for message, answer in zip(messages, answers, strict=True):
        {True: found.redriven, False: found.stale, None: found.unknown}[answer].append(message)
    return found


async def _readmit(ledger: Ledger, message: Message) -> bool | None:
    if (died := letters.death(message.attributes)) is None:
        return None
    letter = await ledger.dead_letter(died.id)
    if letter is None or letter.body != message.body:
        return None
    return await ledger.redrive(Filter(since=died.at, until=died.at + MOMENT), [died.id]) > 0


def _own(attributes: letters.Pairs) -> letters.Pairs:
    """Return the attributes as the worker is to see them."""
    told = dict(attributes)
    letter = told.get(letters.LETTER) or told.get(letters.FOREIGN)
    return letters.marked(attributes, letter) if letter else letters.arriving(attributes)


class ReturningQueue(QueueDecorator):
    """An EventQueue like the one inside; what comes back to it as a dead letter is redriven, and never seen by the worker.

    No attribute of ours gets past it: what the worker finds of them comes from this process. What was in a letter that
    the ledger does not have is marked with `letters.FOREIGN`; if it dies here too, that letter is not sent on again.
    """

    def __init__(self, queue: EventQueue, ledger: Ledger, reporter: Reporter) -> None:
        super().__init__(queue)
        self._ledger, self._reporter = ledger, reporter

    async def receive(self, limit: int, wait: float) -> list[Message]:
        """Raises LedgerError too."""
        messages = await self.inner.receive(limit, wait)
        marked = [m for m in messages if any(name.startswith(letters.PREFIX) for name, _ in m.attributes)]
        if not marked:
            return messages
        try:
            found = await readmit(self._ledger, marked)
        except LedgerError:
            await self.inner.release(messages, AGAIN)
            raise
        await self._ack(found)
        gone = {m.id for m in (*found.redriven, *found.stale)}  # receipts may be the same, at Azure
        return [replace(m, attributes=_own(m.attributes)) for m in messages if m.id not in gone]

    async def _ack(self, found: Returned) -> None:
        if not (done := [*found.redriven, *found.stale]):
            return
        self._reporter.report_redelivery(self.name, "redriven", found.redriven)
        self._reporter.report_redelivery(self.name, "stale", found.stale)
        try:
            await self.inner.ack(done)
        except QueueError as error:  # they come again, and are stale
            self._reporter.report_queue_failure(self.name, error)


@dataclass(frozen=True, slots=True)
class Tally:
    """How many messages of a dead-letter queue."""

    redriven: int = 0  # the ledger processes its letter again
    sent: int = 0  # the ledger knows nothing of it: went to its queue as the message that it was
    stale: int = 0  # a copy of what was redriven already
    left: int = 0  # no dead letter, or not wanted


class Fetcher:
    """Takes dead letters from the queue that they were sent to."""

    def __init__(
        self, ledger: Ledger, source: EventQueue, send: Callable[[str, Sequence[Outgoing]], Awaitable[None]], limit: int
    ) -> None:
        """`send` puts messages into the queue of that name, or the first; `limit` is of messages taken."""
        self._ledger, self._source, self._send, self._limit = ledger, source, send, limit
        self._left: dict[str, Message] = {}  # by id: what stays there

    async def run(self, wanted: Callable[[Message], bool]) -> Tally:
        """Until nothing more comes that was not seen, or the limit is reached. Each is acked only after it has had its effect.

        Raises LedgerError or QueueError; what was not acked comes again.
        """
        tally = Tally()
        try:
            while (room := self._limit - tally.redriven - tally.sent - tally.stale) > 0 and len(self._left) < MOST:
                messages = await self._source.receive(min(room, BATCH), WAIT)
                if all(m.id in self._left for m in messages):
                    break
                tally = await self._take(messages, wanted, tally)
        finally:
            await self._source.release(list(self._left.values()), 0.0)
        return replace(tally, left=len(self._left))

    async def _take(self, messages: Sequence[Message], wanted: Callable[[Message], bool], tally: Tally) -> Tally:
        self._left.update((m.id, m) for m in messages)
        ours = [m for m in messages if letters.death(m.attributes) and wanted(m)]
        found = await readmit(self._ledger, ours)
        queues: dict[str, list[Outgoing]] = {}
        for message in found.unknown:
            queue = dict(message.attributes).get(letters.QUEUE, "")
            queues.setdefault(queue, []).append(Outgoing(message.body, letters.without(message.attributes)))
        for queue, outgoing in queues.items():
            await self._send(queue, outgoing)
        await self._source.ack(ours)
        for message in ours:
            del self._left[message.id]
        return Tally(
            tally.redriven + len(found.redriven), tally.sent + len(found.unknown), tally.stale + len(found.stale)
        )
