"""Submit events from outside to a queue, for the service and the command line alike."""

from __future__ import annotations

from collections.abc import Sequence

from skyferry.engine.consume.intake import EventReader
from skyferry.model import Priority
from skyferry.ports import EventQueue, Outgoing, letter_attributes
from skyferry.status import Submission

SUBMITTED = ((letter_attributes.ASKED, "1"),)


async def submit_events(reader: EventReader, queue: EventQueue, bodies: Sequence[bytes]) -> list[Submission]:
    """Send one message per body, durably, and return one submission per event.

    Raises EventError for the first body that is not an event; then nothing is sent.
    """
    submissions, messages = [], []
    for body in bodies:
        parsed = reader.parse(body, {})
        if parsed.faulty:
            raise parsed.faulty[0].error
        events = parsed.events
        for event in events:
            ids = tuple(transfer.id for transfer in reader.match(event))
            submissions.append(Submission(event.event_id, event.correlation_id, ids, unrouted=not ids))
        if events:
            priority = events[0].priority or Priority.NORMAL
            messages.append(Outgoing(body, SUBMITTED, priority=priority, dedup_id=events[0].event_id))
    await queue.send(messages)
    return submissions
