"""Carry out one attempt at a transfer: plan it, then execute the plan."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import replace

from skyferry.engine.consume.attempt import Attempt, OpenUploads
from skyferry.engine.copy.decisions import decide_before_look
from skyferry.engine.copy.execute import Executor
from skyferry.engine.copy.large.resuming import abort_upload
from skyferry.engine.copy.plan import CopyContext, CopyPlan, DeletePlan, FolderPlan, Planner, UpdatePlan
from skyferry.engine.copy.provenance import read_provenance
from skyferry.engine.copy.race import RACES, unstable
from skyferry.engine.copy.strategy import PartLimits
from skyferry.engine.copy.verify import delete_version, find_object
from skyferry.engine.resilience.memory_budget import MemoryBudget, Reservation
from skyferry.errors import PermissionDenied, PreconditionFailed, Unsupported
from skyferry.model import Placement, Transfer
from skyferry.ports import Clock, Done, ObjectStore, Offload, Released, Skipped
from skyferry.routing.routes import Route

__all__ = ["Attempt", "Copier"]


async def _same(store: str, key: str) -> bool:
    """Take every source for the one known before."""
    return True


class Copier:
    """Carries out transfers. Object data in memory never exceed the budget, whatever the sizes of the objects."""

    def __init__(
        self,
        stores: Mapping[str, ObjectStore],
        budget: MemoryBudget,
        offload: Offload,
        clock: Clock,
        limits: PartLimits,
        is_same: Callable[[str, str], Awaitable[bool]] = _same,
    ) -> None:
        """`is_same`: see `Planner`."""
        self.stores, self._budget, self._clock, self._is_same = stores, budget, clock, is_same
        self._planner = Planner(clock, limits, is_same)
        self._executor = Executor(budget, offload, clock, limits)

    async def run(self, attempt: Attempt, route: Route) -> Done | Skipped | Released:
        """Return the outcome. Failures are raised as StoreError, a lost lease as Fenced."""
        claim, transfer = attempt.claim, attempt.claim.transfer
        if skipped := decide_before_look(claim):
            return skipped
        source, destination = self.stores[transfer.source_store], self.stores[transfer.store]
        context = CopyContext(attempt, claim, transfer, route, source, destination, self._clock.monotonic())
        with Reservation(self._budget.share(transfer.source_store, transfer.store)) as memory:
            plan = await self._planner.plan(context, memory)
            for _ in range(RACES):
                if not isinstance(plan, UpdatePlan):
                    break
                try:
                    return await self._executor.update(plan)
                except PreconditionFailed:  # the destination has changed since it was looked at
                    plan = await self._planner.plan(context, memory)
                except (PermissionDenied, Unsupported):  # then the bytes are written again
                    plan = await self._planner.plan(replace(context, in_place=False), memory)
            if isinstance(plan, CopyPlan):
                return await self._executor.copy(plan)
            if isinstance(plan, FolderPlan):
                return await self._executor.make_folder(plan)
            if isinstance(plan, DeletePlan):
                return await self._executor.delete(plan)
            if isinstance(plan, UpdatePlan):
                raise unstable(context)
            return plan

    async def abort_uploads(self, transfer: Transfer, uploads: OpenUploads) -> None:
        """Abort the open uploads to the destination key of a settled transfer: nothing will resume them."""
        if (store := self.stores.get(transfer.store)) is None:
            return  # the route and its store are no longer configured: `skyferry gc` finds the uploads
        for progress in list(uploads.known.values()):
            await abort_upload(store, uploads, progress)

    async def undo(self, transfer: Transfer, done: Done) -> bool:
        """Delete what was written under a lost claim and so is not recorded, unless it is still the newest version.

        Otherwise a worker that stood still could bring back what a delete, settled meanwhile, has removed. A change in place
        brings nothing back. Return True if a newer version must be copied again: without preconditions it may be replaced.
        """
        if done.receipt.in_place:
            return False
        return await self._delete_outdated(transfer, done.placement.source.version, done.placement.version)

    async def undo_aborted(self, transfer: Transfer, placed: Placement | None) -> bool:
        """Delete what an aborted write has left, as `undo` does. `placed` is the placement in the ledger: it stays."""
        store = self.stores[transfer.store]
        found = await find_object(store, transfer.key)
        if found is None:
            return not store.traits.delete_exact  # an aborted delete may have removed a newer version
        if placed is not None and placed.version == found.version:
            return False
        origin = read_provenance(found)
        if origin.transfer_id != transfer.id:
            return False
        return await self._delete_outdated(transfer, origin.version, found.version)

    async def _delete_outdated(self, transfer: Transfer, source_version: str, version: str) -> bool:
        """Delete a version at the destination, unless the source still has the version that it is a copy of."""
        newest = await find_object(self.stores[transfer.source_store], transfer.source.key)
        if newest is None and not await self._is_same(transfer.source_store, transfer.source.key):
            return False
        if newest is None or newest.version != source_version:
            with suppress(PreconditionFailed):  # it has been replaced already
                await delete_version(self.stores[transfer.store], transfer.key, version)
        traits = self.stores[transfer.store].traits
        return newest is not None and not (traits.create_only and traits.replace_exact)
