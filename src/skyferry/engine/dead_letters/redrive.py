"""Redrive dead letters: from the ledger, and from the queue to which they were published."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from skyferry.engine.dead_letters.intercept import redrive_returned
from skyferry.errors import CannotSend, LedgerError, QueueError
from skyferry.frozen import dataclass
from skyferry.ports import (
    Clock,
    DeadLetter,
    DeadLetterRef,
    DeadLetters,
    Depth,
    EventQueue,
    LetterLeases,
    Message,
    Outgoing,
    Purpose,
    QueueTraits,
    letter_attributes,
)

POLL = 1.0  # seconds between requests to the ledger
WAIT = 5.0  # seconds that the first message of a queue may take
BATCH = 100  # messages in one receive
MAX_SKIPPED = 10_000  # messages that one redrive may leave in the queue


class RedriveQueue:
    """An EventQueue over `LetterLeases`. It cannot send: `DeadLetters.redrive` adds to it."""

    def __init__(self, ledger: LetterLeases, clock: Clock, lease: float = 30.0, poll: float = POLL) -> None:
        """`poll` is the time between requests to the ledger, in seconds."""
        self.name, self.lease, self.traits = "redrive", lease, QueueTraits()
        self._ledger, self._clock, self._poll = ledger, clock, poll
        self._due = 0.0  # monotonic time of the next request to the ledger

    async def receive(self, limit: int, wait: float) -> list[Message]:
        deadline = self._clock.monotonic() + wait
        redriven: list[DeadLetter] = []
        while not redriven:
            if (pause := self._due - self._clock.monotonic()) > 0:
                left = max(0.0, deadline - self._clock.monotonic())
                await self._clock.sleep(min(pause, left))
                if left < pause:
                    break
            redriven = await self._take(limit)
        now = self._clock.time()
        return [
            Message(
                id=letter.id,
                body=letter.body,
                receipt=f"{letter.id} {letter.at!r}",  # this death: it may die and be redriven again before the ack
                attempt=1,
                enqueued_at=letter.redriven_at or now,
                lease_until=now + self.lease,
                attributes=(
                    *letter_attributes.keep_for_letter(letter.attributes),
                    (letter_attributes.LETTER, letter.id),
                    (letter_attributes.QUEUE, letter.queue),
                ),
            )
            for letter in redriven
        ]

    async def _take(self, limit: int) -> list[DeadLetter]:
        try:
            redriven = await self._ledger.take_letters(Purpose.REDRIVE, limit, self.lease)
        except LedgerError as error:
            raise QueueError(error.message, where=error.where, hint=error.hint) from error
        self._due = 0.0 if redriven else self._clock.monotonic() + self._poll
        return redriven

    async def extend(self, messages: Sequence[Message], seconds: float = 0.0) -> list[Message]:
        await self._finish(messages, max(self.lease, seconds))
        return []

    async def ack(self, messages: Sequence[Message]) -> None:
        await self._finish(messages, None)

    async def release(self, messages: Sequence[Message], delay: float) -> None:
        await self._finish(messages, delay)

    async def send(self, messages: Sequence[Outgoing]) -> list[str]:
        raise CannotSend(
            "the queue of redriven letters accepts no messages", where=self.name, hint="redrive dead letters"
        )

    async def depth(self) -> Depth:
        return Depth(0, 0, 0, 0.0)

    async def close(self) -> None:
        """Leave the ledger open: its owner closes it."""

    async def _finish(self, messages: Sequence[Message], delay: float | None) -> None:
        letters = [_parse_receipt(m.receipt) for m in messages]
        try:
            if delay is None:
                await self._ledger.finish_letters(Purpose.REDRIVE, letters)
            else:
                await self._ledger.reschedule_letters(Purpose.REDRIVE, letters, delay)
        except LedgerError as error:
            raise QueueError(error.message, where=error.where, hint=error.hint) from error


def _parse_receipt(receipt: str) -> DeadLetterRef:
    name, at = receipt.rsplit(" ", 1)
    return DeadLetterRef(name, float(at))


@dataclass(frozen=True, slots=True)
class RedriveCounts:
    """The number of messages of a dead-letter queue, by outcome."""

    redriven: int = 0  # the ledger processes the letter again
    sent: int = 0  # unknown to the ledger: sent to its queue as the original message
    stale: int = 0  # a copy of a letter that was redriven already
    left: int = 0  # no dead letter, or not selected


class DeadLetterRedriver:
    """Redrives dead letters from the queue to which they were published."""

    def __init__(
        self,
        ledger: DeadLetters,
        source: EventQueue,
        send: Callable[[str, Sequence[Outgoing]], Awaitable[None]],
        limit: int,
    ) -> None:
        """`send` sends to the queue of that name, or to the first; at most `limit` messages are redriven."""
        self._ledger, self._source, self._send, self._limit = ledger, source, send, limit
        self._skipped: dict[str, Message] = {}  # by id

    async def redrive(self, wanted: Callable[[Message], bool]) -> RedriveCounts:
        """Redrive until no new message arrives or the limit is reached. A message is acknowledged after its effect.

        Raises LedgerError or QueueError; messages that are not acknowledged are delivered again.
        """
        counts = RedriveCounts()
        try:
            while (room := self._limit - counts.redriven - counts.sent - counts.stale) > 0:
                if len(self._skipped) >= MAX_SKIPPED:
                    break
                messages = await self._source.receive(min(room, BATCH), WAIT)
                if all(m.id in self._skipped for m in messages):
                    break
                counts = await self._redrive_batch(messages, wanted, counts)
        finally:
            await self._source.release(list(self._skipped.values()), 0.0)
        return replace(counts, left=len(self._skipped))

    async def _redrive_batch(
        self, messages: Sequence[Message], wanted: Callable[[Message], bool], counts: RedriveCounts
    ) -> RedriveCounts:
        self._skipped.update((m.id, m) for m in messages)
        selected = [m for m in messages if letter_attributes.parse_reference(m.attributes) and wanted(m)]
        found = await redrive_returned(self._ledger, selected)
        queues: dict[str, list[Outgoing]] = {}
        for message in found.unknown:
            queue = dict(message.attributes).get(letter_attributes.QUEUE, "")
            queues.setdefault(queue, []).append(Outgoing(message.body, letter_attributes.strip_own(message.attributes)))
        for queue, outgoing in queues.items():
            await self._send(queue, outgoing)
        await self._source.ack(selected)
        for message in selected:
            del self._skipped[message.id]
        return RedriveCounts(
            counts.redriven + len(found.redriven), counts.sent + len(found.unknown), counts.stale + len(found.stale)
        )
