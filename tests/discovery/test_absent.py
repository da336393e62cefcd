"""The destination's listing shows which keys have no object. Where writes have no preconditions, they need no look of their own."""

from __future__ import annotations

from dataclasses import replace

import pytest

from skyferry.discovery.listing import SMALL, CopyEnds, CopyPorts, ListingSource
from skyferry.ledgers.memory.ledger import MemoryLedger
from skyferry.model import Attributes, Checksums, ObjectRef, Provider
from skyferry.queues.memory import MemoryQueue
from skyferry.stores.memory import MemoryStore
from skyferry.testing.clock import ManualClock


async def list_absent(present: int, *, create_only: bool) -> tuple[int, int]:
    """Copy 20 keys to a store with so many of them, and other objects. Return the number of events, and of absent keys."""
    clock = ManualClock()
    source, there = MemoryStore("in", clock), MemoryStore("out", clock)
    there.traits = replace(there.traits, create_only=create_only, order="none")
    for n in range(20):
        await source.write(f"{n:04}", b"x", Attributes(), Checksums())
    for n in range(present):
        await there.write(f"{n:04}", b"x", Attributes(), Checksums())
    queue = MemoryQueue("q", clock)
    ends = CopyEnds(ObjectRef(Provider.MEMORY, "in", ""), ObjectRef(Provider.MEMORY, "out", ""))
    await ListingSource(ends, CopyPorts(source, there, MemoryLedger("me", clock), queue, clock)).run()
    events = [message.event for message in await queue.receive(100, 0.0)]
    return len(events), sum(event is not None and event.absent for event in events)


@pytest.mark.parametrize(
    ("present", "create_only", "absent"),
    [(0, False, 20), (5, False, 15), (20, False, 0), (SMALL, False, 0), (0, True, 0)],
    ids=["an empty destination", "some keys", "all keys", "a full page says nothing", "the writes have a precondition"],
)
async def test_the_keys_that_a_small_listing_lacks_are_absent(present: int, create_only: bool, absent: int) -> None:
    assert await list_absent(present, create_only=create_only) == (20, absent)
