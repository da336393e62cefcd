"""Plan one attempt: look at both stores, decide, and choose the strategy. Nothing is changed at either store."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from typing import Any, TypeAlias

from skyferry.engine.consume.attempt import Attempt
from skyferry.engine.copy import decisions
from skyferry.engine.copy.attributes.carry import Cargo, carry_attributes
from skyferry.engine.copy.strategy import (
    CopyStrategy,
    PartLimits,
    can_copy_server_side,
    choose_sent,
    choose_server_side,
)
from skyferry.engine.copy.verify import drop_unsupported, find_object, is_supported
from skyferry.engine.resilience.memory_budget import Reservation
from skyferry.errors import ObjectNotFound, Unsupported, VersionChanged
from skyferry.frozen import dataclass
from skyferry.model import Change, Checksums, Claim, ObjectMeta, Transfer
from skyferry.ports import ANY, Clock, ObjectStore, Precondition, Released, Skipped
from skyferry.routing.routes import Route

AWAY = 10.0  # seconds between looks at a source that is not the one known before
READS = 10  # of one object whose size changes, in one attempt
UNNAMED = (
    "make the service return an ETag that changes with the content (of `rclone serve s3`: --etag-hash), "
    "or enable versions of the bucket"
)


@dataclass(frozen=True, slots=True)
class CopyContext:
    """One attempt and its two stores."""

    attempt: Attempt
    claim: Claim  # of the attempt
    transfer: Transfer  # of the claim
    route: Route
    source: ObjectStore
    destination: ObjectStore
    started: float  # monotonic seconds: the wall clock may be set during the attempt
    in_place: bool = True  # what the destination object carries may be changed without its bytes

    def carry(self, found: ObjectMeta, checksums: Checksums) -> Cargo:
        """Return what the copy of this source version carries."""
        return carry_attributes(self.transfer, self.route, found, checksums, self.destination.traits)

    def find_destination(self) -> Coroutine[Any, Any, ObjectMeta | None]:
        """Look at the destination key."""
        return find_object(self.destination, self.transfer.key)


@dataclass(frozen=True, slots=True)
class CopyPlan:
    """A copy that is due."""

    context: CopyContext
    found: ObjectMeta  # the source version to copy
    when: Precondition  # the expected state of the destination
    strategy: CopyStrategy
    data: bytes = b""  # the whole content, for SINGLE_REQUEST


@dataclass(frozen=True, slots=True)
class UpdatePlan:
    """A change of what the destination object carries. Its bytes stay."""

    context: CopyContext
    found: ObjectMeta  # the source version
    destination: ObjectMeta  # as it was found


@dataclass(frozen=True, slots=True)
class FolderPlan:
    """A folder to make at the destination."""

    context: CopyContext
    found: ObjectMeta  # the folder marker


@dataclass(frozen=True, slots=True)
class DeletePlan:
    """A delete that is due."""

    context: CopyContext
    when: Precondition  # the version to delete


Plan: TypeAlias = CopyPlan | UpdatePlan | FolderPlan | DeletePlan


class Planner:
    """Plans attempts. Reads small objects whole, because that saves a request."""

    def __init__(self, clock: Clock, limits: PartLimits, is_same: Callable[[str, str], Awaitable[bool]]) -> None:
        """`is_same` says for a store and a key if the source is the one that once had the key; else it is only away."""
        self._clock, self._limits, self._is_same = clock, limits, is_same

    def plan(self, context: CopyContext, memory: Reservation) -> Coroutine[Any, Any, Plan | Skipped | Released]:
        """Return the plan, or the outcome if there is nothing to do. `memory` is kept for the data of the plan."""
        if context.attempt.late_write or context.attempt.late_delete:
            return self._plan_after_landing(context, memory)
        return self._plan(context, memory)

    async def _plan_after_landing(self, context: CopyContext, memory: Reservation) -> Plan | Skipped | Released:
        """Postpone what a change without an answer, which may still take effect, could undo or make wrong.

        A write brings back what was deleted before it, and without a precondition replaces what is newer. A delete
        without one removes what was written before it.
        """
        attempt, traits = context.attempt, context.destination.traits
        plan = await self._plan(context, memory)
        copies = isinstance(plan, UpdatePlan) or (isinstance(plan, CopyPlan) and plan.when != ANY)
        if attempt.late_write and not copies:
            return Released(attempt.late_write)
        if attempt.late_delete and not traits.delete_exact and not isinstance(plan, DeletePlan):
            return Released(attempt.late_delete)
        return plan

    def _plan(self, context: CopyContext, memory: Reservation) -> Coroutine[Any, Any, Plan | Skipped | Released]:
        transfer, size = context.transfer, context.transfer.size
        if transfer.change is Change.DELETED or can_copy_server_side(context.source, context.destination):
            return self._plan_by_head(context, memory)
        known = size is not None and size <= self._limits.size
        return self._plan_by_read(context, memory, size if known and size is not None else self._limits.first_read)

    async def _plan_by_head(self, context: CopyContext, memory: Reservation) -> Plan | Skipped | Released:
        """Look before any byte is read: the object may be gone, or the provider may copy it."""
        found = await find_object(context.source, context.transfer.source.key)
        if found is None:
            return await self._plan_delete(context)
        if can_copy_server_side(context.source, context.destination):
            when = await self._decide(context, found)
            if not isinstance(when, Precondition):
                return when
            checksums = context.transfer.checksums
            if strategy := choose_server_side(context.destination, found, checksums, when, self._limits):
                return CopyPlan(context, found, when, strategy)
        return await self._plan_by_read(context, memory, min(found.size, self._limits.size))

    async def _plan_by_read(self, context: CopyContext, memory: Reservation, first: int) -> Plan | Skipped | Released:
        """Read at most `first` bytes. If they are not the whole object, read again knowing its size, or plan parts."""
        for _ in range(READS):
            await memory.resize(max(first, 1))
            try:
                got = await context.source.read(context.transfer.source.key, 0, max(first, 1))
            except ObjectNotFound:
                return await self._plan_delete(context)
            when = await self._decide(context, got.meta)
            if not isinstance(when, Precondition):
                return when
            if len(got.data) == got.meta.size:
                return CopyPlan(context, got.meta, when, CopyStrategy.SINGLE_REQUEST, got.data)
            if got.meta.size > self._limits.size:
                memory.free()
                return CopyPlan(context, got.meta, when, self._choose_sent(context, got.meta))
            first = got.meta.size
            del got  # its memory is free for the next read
        raise VersionChanged("the size of the object is another at each read", where=_where(context))

    def _choose_sent(self, context: CopyContext, found: ObjectMeta) -> CopyStrategy:
        if context.attempt.uploads.known:  # its parts are used, or aborted
            return CopyStrategy.MULTIPART
        event, attempt = context.transfer.checksums, context.claim.attempt
        return choose_sent(context.destination.traits, found, event, attempt, self._limits)

    async def _decide(
        self, context: CopyContext, found: ObjectMeta
    ) -> Precondition | UpdatePlan | FolderPlan | Released | Skipped:
        """Return the precondition of a copy of this version, the plan that is enough, or the outcome without either."""
        if not found.version:  # every later version would look like this one
            raise Unsupported("the store names no version of the object", where=_where(context), hint=UNNAMED)
        claim, route, traits = context.claim, context.route, context.destination.traits
        decision = decisions.decide_after_look(claim, route, found, self._clock.time())
        if (
            traits.folders
            and found.is_folder_marker
            and isinstance(decision, decisions.Copy | decisions.CheckDestination)
        ):
            return FolderPlan(context, found)
        if isinstance(decision, decisions.Copy) and not is_supported(decision.when, traits):
            if decisions.is_known_absent(claim, route) and found.size <= self._limits.size:
                return ANY  # a larger object takes long between the look at its source and its write
            decision = decisions.CheckDestination()
        if isinstance(decision, decisions.CheckDestination):
            again = decisions.decide_conflict(claim, route, found, await context.find_destination())
            if isinstance(again, decisions.Update):
                if traits.in_place and context.in_place:
                    return UpdatePlan(context, found, again.destination)
                again = decisions.Copy(Precondition(replace=again.destination.version))
            if isinstance(again, decisions.Adopt):
                # The bytes are compared when the write is refused. Without preconditions the provenance is trusted.
                create = decisions.Copy(Precondition(create_only=True))
                again = create if traits.create_only else Skipped("current")
            elif isinstance(again, decisions.Copy):
                again = replace(again, when=drop_unsupported(again.when, traits))
            decision = again
        assert not isinstance(decision, decisions.Remove)  # only without a source object
        if isinstance(decision, decisions.Copy):
            return decision.when
        return Released(decision.delay) if isinstance(decision, decisions.Postpone) else decision

    async def _plan_delete(self, context: CopyContext) -> DeletePlan | Skipped | Released:
        transfer = context.transfer
        if not await self._is_same(transfer.source_store, transfer.source.key):
            return Released(AWAY)
        decision = decisions.decide_after_look(context.claim, context.route, None, self._clock.time())
        if isinstance(decision, decisions.CheckDestination):
            decision = await check_before_delete(context)
        if isinstance(decision, decisions.Remove):
            return DeletePlan(context, decision.when)
        assert isinstance(decision, Skipped)  # a missing object is neither copied nor postponed
        return decision


def _where(context: CopyContext) -> str:
    return f"{context.transfer.source_store} {context.transfer.source.key}"


async def check_before_delete(context: CopyContext) -> decisions.Remove | Skipped:
    """Look at the destination and decide about a delete. The source is looked at again after it.

    The object may be back, and the destination may have its copy, made while this worker stood still.
    """
    decision = decisions.decide_delete(context.claim, context.route, await context.find_destination())
    if isinstance(decision, decisions.Remove) and await find_object(context.source, context.transfer.source.key):
        return Skipped("superseded")
    return decision
