"""Takes events from outside into the queue; the service and the command line both do it this way."""

from __future__ import annotations

from collections.abc import Sequence

from skyferry.engine.consume.intake import Reader
from skyferry.model import Priority
from skyferry.ports import EventQueue, Outgoing, letters
from skyferry.status import Submission

ASKED = ((letters.ASKED, "1"),)


async def take(reader: Reader, queue: EventQueue, bodies: Sequence[bytes]) -> list[Submission]:
    """Durably, one message per body, one answer per event. Raises EventError for the first that is none; then none is taken."""
    answers, messages = [], []
    for body in bodies:
        parsed = reader.parse(body, {})
        if parsed.faulty:
            raise parsed.faulty[0].error
        events = parsed.events
        for event in events:
            ids = tuple(transfer.id for transfer in reader.match(event))
            answers.append(Submission(event.event_id, event.correlation_id, ids, unrouted=not ids))
        if events:
            priority = events[0].priority or Priority.NORMAL
            messages.append(Outgoing(body, ASKED, priority=priority, dedup_id=events[0].event_id))
    await queue.send(messages)
    return answers
