"""A listing of a source against one of the destination, neither of which needs to be in order."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from skyferry.discovery.listing import CopyEnds, CopyPorts, ListingSource
from skyferry.ledgers.memory.ledger import MemoryLedger
from skyferry.model import (
    Attributes,
    Change,
    Checksums,
    Claim,
    ObjectMeta,
    ObjectRef,
    Placement,
    Provider,
    Receipt,
    Transfer,
)
from skyferry.ports import Done, Settlement
from skyferry.queues.memory import MemoryQueue
from skyferry.stores.memory import MemoryStore
from skyferry.testing.clock import ManualClock
from skyferry.wiring.copy_ledgers import DOUBTED, VERSION, mark_doubted

BYTES = ["a", "a-b", "a/b", "a0", "b"]
HIERARCHY = ["a", "a/b", "a-b", "a0", "b"]


class Listed(MemoryStore):
    """A store whose listing comes in an order of its own; counts look-ups."""

    order = BYTES
    looks = 0

    async def list(self, prefix: str = "", after: str = "") -> AsyncIterator[ObjectMeta]:
        for key in self.order:
            yield await super().head(key)

    async def head(self, key: str) -> ObjectMeta:
        self.looks += 1
        return await super().head(key)


async def settled(ledger: MemoryLedger, meta: ObjectMeta) -> None:
    source = ObjectRef(Provider.MEMORY, "in", meta.key, version=meta.version)
    transfer = Transfer(meta.key, "r", Change.CREATED, source, "in", "out", meta.key, "e", "c", 1.0)
    [claim] = await ledger.claim([transfer])
    assert isinstance(claim, Claim)
    receipt = Receipt(meta.version, "v", 1, Checksums(), Checksums(), Checksums(), None, 0.0, 0.0, 1)
    placement = Placement("out", meta.key, source, False, (), 0.0, "v", transfer.id, 0.0)
    await ledger.settle([Settlement(claim, Done(receipt, placement))])


@pytest.mark.parametrize("source_order", [BYTES, HIERARCHY, BYTES[::-1]])
@pytest.mark.parametrize("there_order", [BYTES, HIERARCHY, BYTES[::-1], BYTES[:2]])
async def test_what_is_there_is_found_in_any_order(source_order: list[str], there_order: list[str]) -> None:
    """And what is missing is sent, and nothing else."""
    clock = ManualClock()
    source, there = Listed("in", clock), Listed("out", clock)
    ledger, queue = MemoryLedger("me", clock), MemoryQueue("q", clock)
    for key in BYTES:
        for store in (source, there):
            await store.write(key, b"x", Attributes(), Checksums())
        await settled(ledger, await MemoryStore.head(source, key))
    await there.delete("a0")
    source.order, there.order = source_order, [key for key in there_order if key != "a0"]
    ends = CopyEnds(ObjectRef(Provider.MEMORY, "in", ""), ObjectRef(Provider.MEMORY, "out", ""))
    listing = ListingSource(ends, CopyPorts(source, there, ledger, queue, clock, doubt=mark_doubted))
    await listing.run()
    assert (listing.found.objects, listing.found.present) == (5, 4)
    [sent] = await queue.receive(10, 0.0)
    assert sent.event is not None
    assert (sent.event.source.key, sent.event.event_id[VERSION]) == ("a0", DOUBTED), "the ledger is not believed"
    if (source_order, there_order) == (BYTES, BYTES):
        assert there.looks == 2, "whether the store is there at all, and what was missing"
