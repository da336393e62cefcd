"""A request of a person checks the destination itself, and one check of a source answers several events."""

from __future__ import annotations

import pytest
from tests.engine.lab import Lab

from skyferry.engine.consume.intake import EventReader
from skyferry.engine.submission import submit_events
from skyferry.errors import ObjectNotFound
from skyferry.events.native import encode_event
from skyferry.ports import letter_attributes
from skyferry.queues.memory import MemoryQueue


async def test_the_mark_is_the_only_internal_attribute_that_a_message_keeps() -> None:
    """The other internal attributes are removed from returning dead letters."""
    given = ((letter_attributes.ASKED, "1"), (letter_attributes.LETTER, "x"), ("theirs", "2"))
    assert letter_attributes.strip_untrusted(given) == ((letter_attributes.ASKED, "1"), ("theirs", "2"))


async def settled(lab: Lab) -> None:
    while await lab.left():
        await lab.clock.advance(0.1)


async def test_a_copy_that_was_removed_by_hand_is_made_again_when_a_person_submits_its_source() -> None:
    """An event of a cloud goes by the ledger, and costs no request at the destination."""
    lab = Lab()
    await lab.put("k")
    async with lab.running(lab.worker()):
        await lab.send("k")
        await settled(lab)
        await lab.destination.delete("k")
        await lab.send("k")
        await settled(lab)
        with pytest.raises(ObjectNotFound):
            await lab.destination.head("k")
        queue = MemoryQueue("events", lab.clock, lab.lease, lab.queue_state)
        await submit_events(EventReader(lab.routes), queue, [encode_event(lab.event("k"))])
        await settled(lab)
        assert (await lab.destination.head("k")).size == 4
        await submit_events(EventReader(lab.routes), queue, [encode_event(lab.event("k"))])
        await settled(lab)
    assert [record.reason for record in lab.heard if record.event == "transfer.skipped"] == ["current", "current"]
    assert lab.count("transfer.done") == 2


async def test_all_events_in_hand_are_answered_by_one_look() -> None:
    """A key that is written often costs a look for each batch of its events, not for each event."""
    lab = Lab()
    await lab.put("k")
    await lab.send(*["k"] * 12)
    async with lab.running(lab.worker()):
        await settled(lab)
    looks = [r for r in lab.heard if r.event == "store.request" and r.store == "source"]
    assert (len(looks), lab.count("transfer.done"), lab.count("transfer.skipped")) == (1, 1, 11)
