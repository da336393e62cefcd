"""A sink that publishes dead letters to any queue.

The body and the attributes are those of the message that died, so a consumer reads the same event. Added attributes have
names of their own: `ports.letter_attributes`.
"""

from __future__ import annotations

from collections.abc import Sequence

import orjson

from skyferry.ports import DeadLetter, EventQueue, Outgoing
from skyferry.ports.letter_attributes import DIED, LETTER, MESSAGE, QUEUE, REASON, ROUTE, SOURCE, STORY, strip_own

VALUE = 1024  # bytes of an attribute that Pub/Sub accepts


class QueueDeadLetters:
    """A `DeadLetterSink` on an `EventQueue`, which it closes."""

    def __init__(self, queue: EventQueue) -> None:
        self._queue = queue

    async def publish(self, letters: Sequence[DeadLetter]) -> None:
        """See `DeadLetterSink`."""
        await self._queue.send([_outgoing(letter) for letter in letters])

    async def close(self) -> None:
        """See `DeadLetterSink`."""
        await self._queue.close()


def _outgoing(letter: DeadLetter) -> Outgoing:
    added = {
        LETTER: letter.id,
        DIED: repr(letter.at),
        QUEUE: letter.queue,
        REASON: letter.reason,
        MESSAGE: letter.message,
        ROUTE: letter.route,
        SOURCE: letter.source,
        STORY: _story(letter),
    }
    own = tuple((name, _short(value)) for name, value in added.items() if value)
    death = f"{letter.id}-{letter.at!r}"  # a second death is another message
    return Outgoing(letter.body, (*own, *strip_own(letter.attributes)), dedup_id=death)


def _story(letter: DeadLetter) -> str:
    """Return the attempts as JSON; only the last ones if not all fit."""
    rows = [{"attempt": f.attempt, "at": f.at, "kind": f.kind, "message": f.message[:200]} for f in letter.attempts]
    while len(text := orjson.dumps(rows).decode()) > VALUE // 2 and rows:
        rows = rows[1:]
    return text if rows else ""


def _short(value: str) -> str:
    return value.encode()[:VALUE].decode(errors="ignore")
