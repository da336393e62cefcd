"""A source that is not what it was has lost nothing: what it does not have is away."""

from __future__ import annotations

from dataclasses import replace

import pytest

from skyferry.engine.concurrency.transfer_slots import PrioritySemaphore, TransferSlot
from skyferry.engine.copy.copier import Attempt, Copier
from skyferry.engine.copy.digests import ThreadOffload
from skyferry.engine.copy.plan import AWAY
from skyferry.engine.copy.strategy import PartLimits
from skyferry.engine.resilience.memory_budget import MemoryBudget
from skyferry.model import Attributes, Change, Checksums, Claim, ObjectMeta, ObjectRef, Placement, Provider, Transfer
from skyferry.ports import Done, Released, Skipped
from skyferry.routing.routes import Route
from skyferry.stores.memory import MemoryStore
from skyferry.testing.clock import ManualClock

ROUTE = Route(name="r", source_store="s", store="d", deletes="propagate")
KEY = ObjectRef(Provider.MEMORY, "s", "k")
CREATED = Transfer("t", "r", Change.CREATED, KEY, "s", "d", "k", "e", "c", 1.0)


class World:
    """A copy whose source is away, or gone."""

    def __init__(self) -> None:
        self.clock, self.same = ManualClock(), False
        self.source, self.destination = MemoryStore("s", self.clock), MemoryStore("d", self.clock)
        stores = {"s": self.source, "d": self.destination}
        self.copier = Copier(stores, MemoryBudget(2**20), ThreadOffload(), self.clock, PartLimits(), self.is_same)

    async def is_same(self, store: str, key: str) -> bool:
        assert (store, key) == ("s", "k")
        return self.same

    async def copied(self) -> tuple[Placement, ObjectMeta]:
        made = await self.destination.write("k", b"copy", Attributes(), Checksums())
        source = replace(KEY, version="1")
        return Placement("d", "k", source, False, (), 1.0, made.version, "t", 1.0), made

    async def run(self, transfer: Transfer, placement: Placement | None = None) -> object:
        with await TransferSlot.take(PrioritySemaphore(1), PrioritySemaphore(1), 0.0) as slot:
            return await self.copier.run(Attempt(Claim(transfer, 1, 1, 0, placement), slot), ROUTE)


@pytest.mark.parametrize("change", list(Change))
async def test_it_comes_again_until_the_source_is_what_it_was(change: Change) -> None:
    world = World()
    placement, made = await world.copied()
    transfer = replace(CREATED, change=change)
    assert await world.run(transfer, placement) == Released(AWAY)
    assert await world.destination.head("k") == made
    world.same = True
    assert isinstance(await world.run(transfer, placement), Done if change is Change.DELETED else Skipped)


async def test_what_was_written_stays_where_the_claim_was_lost_and_the_source_is_away() -> None:
    world = World()
    await world.source.write("k", b"data", Attributes(), Checksums())
    done = await world.run(CREATED)
    assert isinstance(done, Done)
    await world.source.delete("k")
    await world.copier.undo(CREATED, done)
    assert (await world.destination.head("k")).size == 4
