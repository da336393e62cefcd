"""Carry out plans: one strategy per way of the bytes, all of one shape, and the delete."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from typing import Any, Protocol

from skyferry.engine.copy import decisions
from skyferry.engine.copy.digests import INLINE, compute_digests, crc32c, digest_bytes
from skyferry.engine.copy.large.multipart import MultipartUploader
from skyferry.engine.copy.large.resuming import MultipartPlan, combine_known_parts, plan_multipart
from skyferry.engine.copy.large.streamed import StreamedRequest
from skyferry.engine.copy.plan import CopyContext, CopyPlan, DeletePlan, FolderPlan, UpdatePlan, check_before_delete
from skyferry.engine.copy.race import RACES, settle_race, unstable, write_verified
from skyferry.engine.copy.receipt import Written, record_copy, record_delete
from skyferry.engine.copy.strategy import CopyStrategy, PartLimits, digests_that_prove
from skyferry.engine.copy.verify import (
    delete_version,
    digest_returned,
    digests_to_verify,
    list_digests,
    verify_source,
)
from skyferry.engine.resilience.memory_budget import MemoryBudget
from skyferry.errors import ChecksumMismatch, PreconditionFailed
from skyferry.frozen import replace
from skyferry.model import Checksums, ObjectMeta
from skyferry.ports import Clock, Done, Offload, Precondition, Skipped


class Strategy(Protocol):
    """One way of the bytes to the destination."""

    async def run(self, plan: CopyPlan) -> Written | Skipped:
        """Write the object under the plan's precondition and verify it. Skipped: a write has become needless."""


class SingleRequest:
    """Writes the bytes that the plan has read.

    More than a few are not hashed here if the destination compares them with a digest that the source declares.
    """

    def __init__(self, offload: Offload) -> None:
        self._offload = offload

    async def run(self, plan: CopyPlan) -> Written | Skipped:
        context, transfer = plan.context, plan.context.transfer
        traits, known = context.destination.traits, plan.found.checksums
        proven: Checksums | None = None
        if len(plan.data) > INLINE:
            proven = digests_that_prove(traits, known, transfer.checksums, context.claim.attempt)
        if proven and list_digests(proven):
            computed = Checksums(crc32c=crc32c(plan.data))
            sent = replace(proven, crc32c=computed.crc32c)
        else:
            kinds = digests_to_verify(known, transfer.checksums) | digest_returned(traits)
            small = len(plan.data) <= INLINE
            computed = sent = (
                digest_bytes(plan.data, kinds) if small else await compute_digests(plan.data, self._offload, kinds)
            )
        declared = _verify_read(plan, computed)
        cargo = context.carry(plan.found, sent)

        def write(when: Precondition) -> Coroutine[Any, Any, ObjectMeta]:
            return context.destination.write(transfer.key, plan.data, cargo.attributes, sent, when)

        made = await write_verified(plan, sent, write)
        return (
            made
            if isinstance(made, Skipped)
            else Written(made, computed, declared, cargo.changes, carried=cargo.digest)
        )


def _verify_read(plan: CopyPlan, read: Checksums) -> Checksums:
    """Verify what was read, and note if that proves it. Return what is declared. Raises ChecksumMismatch."""
    declared = verify_source(plan.context.transfer, plan.found, read)
    plan.context.attempt.read_proven = read.comparable_with(declared)
    return declared


class ServerSideCopy:
    """Lets the provider copy in one request. The destination returns a digest that the source declares."""

    async def run(self, plan: CopyPlan) -> Written | Skipped:
        context, transfer, found = plan.context, plan.context.transfer, plan.found
        copy_source = context.source.copy_source
        assert copy_source is not None  # or another strategy is chosen
        declared = verify_source(transfer, found, found.checksums)
        cargo = context.carry(found, found.checksums)

        def copy(when: Precondition) -> Coroutine[Any, Any, ObjectMeta]:
            return context.destination.copy_from(copy_source, found, transfer.key, cargo.attributes, when)

        made = await write_verified(plan, found.checksums, copy)
        return made if isinstance(made, Skipped) else Written(made, Checksums(), declared, cargo.changes)


class Multipart:
    """Sends the parts of an object, or lets the provider copy them, and resumes an earlier upload if one fits."""

    def __init__(self, uploader: MultipartUploader) -> None:
        self._uploader = uploader

    async def run(self, plan: CopyPlan) -> Written | Skipped:
        context = plan.context
        await context.attempt.slot.promote()
        upload = self._plan_upload(plan)
        if (early := await self._find_finished(upload)) is not None:
            return early
        async with self._uploader.upload(upload) as sent:
            declared = _verify_read(plan, sent.checksums)

            async def finish(when: Precondition) -> ObjectMeta:
                made = await context.destination.finish_upload(sent.upload, sent.parts, sent.checksums, when)
                sent.finished = True
                return made

            exact = context.destination.traits.finish_exact
            made = await write_verified(plan, sent.checksums, finish, exact=exact)
        computed = Checksums() if plan.strategy.is_server_side else sent.checksums
        return made if isinstance(made, Skipped) else Written(made, computed, declared, upload.changes)

    def _plan_upload(self, plan: CopyPlan) -> MultipartPlan:
        limits = self._uploader.limits
        return plan_multipart(plan, limits.copied if plan.strategy.is_server_side else limits.size)

    async def _find_finished(self, upload: MultipartPlan) -> Written | Skipped | None:
        """An upload that can be resumed may be finished already, if its worker died before it recorded that."""
        plan = upload.copy
        if (old := upload.find_resumable()) is None:
            return None
        sums = plan.found.checksums
        known = sums if plan.strategy.is_server_side else combine_known_parts(old) or sums
        verdict = await settle_race(plan, known)
        if isinstance(verdict, Precondition):
            return None
        if isinstance(verdict, Skipped):
            return verdict
        return Written(verdict, known, verify_source(plan.context.transfer, plan.found, known), upload.changes)


class Executor:
    """Carries out plans and makes their outcomes."""

    def __init__(self, budget: MemoryBudget, offload: Offload, clock: Clock, limits: PartLimits) -> None:
        multipart = Multipart(MultipartUploader(budget, offload, limits))
        self._clock = clock
        self.strategies: Mapping[CopyStrategy, Strategy] = {
            CopyStrategy.SINGLE_REQUEST: SingleRequest(offload),
            CopyStrategy.STREAMED: StreamedRequest(budget, limits),
            CopyStrategy.MULTIPART: multipart,
            CopyStrategy.SERVER_SIDE: ServerSideCopy(),
            CopyStrategy.SERVER_SIDE_MULTIPART: multipart,
        }

    async def copy(self, plan: CopyPlan) -> Done | Skipped:
        """Write, verify, and delete the source if the route moves objects."""
        context, found = plan.context, plan.found
        written = await self.strategies[plan.strategy].run(plan)
        if isinstance(written, Skipped):
            return written
        if context.route.after_copy != "keep":
            await self._delete_source(context, found)
        return record_copy(context, found, written, *self._times(context.started))

    async def update(self, plan: UpdatePlan) -> Done:
        """Change what the destination object carries. Raise PreconditionFailed, Unsupported, PermissionDenied."""
        context, found = plan.context, plan.found
        known = Checksums(sha256=plan.destination.attributes.metadata.get("skyferry-sha256", ""))
        cargo = context.carry(found, known)
        context.attempt.ensure_lease_held()
        made = await context.destination.set_attributes(plan.destination, cargo.attributes)
        if name := plan.destination.checksums.find_conflict(made.checksums) or found.checksums.find_conflict(
            made.checksums
        ):
            where = f"{context.transfer.store} {context.transfer.key}"
            raise ChecksumMismatch(f"{name} of the object changed with its attributes", where=where)
        if context.route.after_copy != "keep":
            await self._delete_source(context, found)
        written = Written(made, Checksums(), found.checksums, cargo.changes, in_place=True)
        return record_copy(context, found, written, *self._times(context.started))

    async def make_folder(self, plan: FolderPlan) -> Skipped:
        """Make a folder instead of an object. A folder has no version, so the ledger keeps none."""
        context = plan.context
        context.attempt.ensure_lease_held()
        await context.destination.make_folder(context.transfer.key)
        return Skipped("marker", decisions.collect_positions(plan.found))

    async def _delete_source(self, context: CopyContext, found: ObjectMeta) -> None:
        """Delete the source version, whose copy is proven."""
        context.attempt.ensure_lease_held()
        with suppress(PreconditionFailed):  # it has changed since: that version has an event of its own
            await delete_version(context.source, context.transfer.source.key, found.version)

    async def delete(self, plan: DeletePlan) -> Done | Skipped:
        """Delete at the destination; decide again while the version to delete changes."""
        context, transfer = plan.context, plan.context.transfer
        decision: decisions.Remove | Skipped | None = decisions.Remove(plan.when)
        for _ in range(RACES):
            decision = decision or await check_before_delete(context)
            if isinstance(decision, Skipped):
                return decision
            context.attempt.ensure_lease_held()
            try:
                await delete_version(context.destination, transfer.key, decision.when.replace)
            except PreconditionFailed:
                decision = None
            except asyncio.CancelledError:
                context.attempt.change_aborted = True
                raise
            else:
                return record_delete(context, *self._times(context.started))
        raise unstable(context)

    def _times(self, started: float) -> tuple[float, float]:
        """Return the time and the seconds since `started`."""
        return self._clock.time(), self._clock.monotonic() - started
