"""Copy large objects in parts, in parallel and within the memory budget.

The parts pass through this process and are digested, or the provider copies them. Each part that the store has received
is remembered, so that the next holder of the claim can resume the upload if it would become the same object.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import field, replace
from functools import partial

from skyferry.bodies import BUFFERS
from skyferry.engine.copy.digests import PartDigests
from skyferry.engine.copy.large.resuming import MultipartPlan, abort_upload, merge_parts, part_lengths
from skyferry.engine.copy.strategy import PartLimits
from skyferry.engine.copy.verify import digests_to_verify
from skyferry.engine.resilience.memory_budget import MemoryBudget
from skyferry.errors import (
    ChecksumMismatch,
    Fenced,
    SkyferryError,
    StoreError,
    UploadGone,
    VersionChanged,
    flatten_group,
)
from skyferry.frozen import dataclass
from skyferry.model import Checksums, Part, Progress, Upload
from skyferry.ports import Offload
from skyferry.tasks.group import TaskGroup


@dataclass(slots=True)
class UploadedParts:
    """All parts of an upload; `finished` once the object is visible."""

    upload: Upload
    parts: list[Part]
    checksums: Checksums  # of the bytes that passed, or as the source declares them if none did
    finished: bool = field(default=False)


class MultipartUploader:
    """Sends the parts of large objects."""

    def __init__(self, budget: MemoryBudget, offload: Offload, limits: PartLimits) -> None:
        self.budget, self.offload, self.limits = budget, offload, limits

    @asynccontextmanager
    async def upload(self, plan: MultipartPlan) -> AsyncIterator[UploadedParts]:
        """Send the missing parts; the body of the `async with` completes the upload.

        After a transient error the upload is kept for the next attempt; after any other it is aborted.
        """
        attempt, destination = plan.copy.context.attempt, plan.copy.context.destination
        progress = await self._open(plan)
        kind = _CopiedParts if plan.copy.strategy.is_server_side else _SentParts
        try:
            with BUFFERS.keep():
                sent = await kind(self, plan, progress).run()
                yield sent
        except BaseException as error:
            resumable = destination.traits.resumable and _is_transient(error)
            if attempt.lease.is_held and not resumable:
                await asyncio.shield(abort_upload(destination, attempt.uploads, progress))
            raise
        if sent.finished:
            attempt.uploads.close(sent.upload.id)

    async def _open(self, plan: MultipartPlan) -> Progress:
        """Return the upload to resume, or a new one. Abort all others to the same key."""
        attempt, destination = plan.copy.context.attempt, plan.copy.context.destination
        attempt.ensure_lease_held()
        old = plan.find_resumable()
        for other in [p for p in attempt.uploads.known.values() if p is not old]:
            await abort_upload(destination, attempt.uploads, other)
        if old is not None:
            try:
                return merge_parts(old, await destination.uploaded_parts(old.upload), destination.traits)
            except UploadGone:
                attempt.uploads.close(old.upload.id)
        attempt.ensure_lease_held()
        transfer = plan.copy.context.transfer
        upload = await destination.start_upload(transfer.key, plan.copy.found.size, plan.part_size, plan.attributes)
        progress = Progress(transfer.store, upload, plan.ref)
        try:
            await attempt.remember_upload(progress)
        except BaseException:  # the ledger does not have it, so it could not be resumed
            if attempt.lease.is_held:  # or `skyferry gc` finds it at the store
                await asyncio.shield(abort_upload(destination, attempt.uploads, progress))
            raise
        return progress


class _Parts(ABC):
    """The parts of one upload that are still missing."""

    def __init__(self, uploader: MultipartUploader, plan: MultipartPlan, progress: Progress) -> None:
        transfer = plan.copy.context.transfer
        self._share = uploader.budget.share(transfer.source_store, transfer.store)
        self._upload = progress.upload
        self._found, self._attempt = plan.copy.found, plan.copy.context.attempt
        self._source, self._destination = plan.copy.context.source, plan.copy.context.destination
        self._known = {part.number: part for part in progress.parts}
        self._done: dict[int, Part] = {}
        kinds = digests_to_verify(self._found.checksums, plan.copy.context.transfer.checksums)
        self._digests = PartDigests(uploader.offload, kinds)
        parallel = uploader.limits.concurrency if self._destination.traits.parallel_parts else 1
        self._places = asyncio.Semaphore(parallel)

    async def run(self) -> UploadedParts:
        """Take memory in the order of the parts, so that the next part to be digested always has some."""
        try:
            async with TaskGroup() as group:
                for number, length in part_lengths(self._upload).items():
                    if not self._keep_known(number, length):
                        await self._start(group, number, length)
        except* SkyferryError as failed:
            raise _first_error(failed) from failed
        return UploadedParts(self._upload, [self._done[n] for n in sorted(self._done)], self._checksums())

    async def _start(self, group: TaskGroup, number: int, length: int) -> None:
        reserved = self._memory(length)
        await self._places.acquire()
        if reserved:
            await self._share.take(reserved)
        task = group.create_task(self._transfer(number, length), name=f"part {number} of {self._upload.key}")
        task.add_done_callback(partial(self._free, reserved))  # also if it never starts

    def _free(self, reserved: int, _: asyncio.Task[None]) -> None:
        if reserved:
            self._share.give(reserved)
        self._places.release()

    def _keep_known(self, number: int, length: int) -> bool:
        """Keep a part from before. Return False if something is left to do for it."""
        old = self._known.get(number)
        if old is None or not self._is_complete(old):
            return False
        self._done[number] = old
        if old.crc32c:
            self._digests.add_known(number, old.crc32c, length)
        return True

    async def _record(self, part: Part) -> None:
        self._done[part.number] = part
        await self._attempt.remember_part(self._upload.id, part)

    @abstractmethod
    def _is_complete(self, old: Part) -> bool: ...

    @abstractmethod
    def _memory(self, length: int) -> int: ...

    @abstractmethod
    def _checksums(self) -> Checksums: ...

    @abstractmethod
    async def _transfer(self, number: int, length: int) -> None: ...


class _SentParts(_Parts):
    """Parts that are read here and written."""

    def _is_complete(self, old: Part) -> bool:
        return bool(old.crc32c) and not self._digests.need_all_bytes

    def _memory(self, length: int) -> int:
        return length

    def _checksums(self) -> Checksums:
        return self._digests.result()

    async def _transfer(self, number: int, length: int) -> None:
        found, old = self._found, self._known.get(number)
        start = (number - 1) * self._upload.part_size
        got = await self._source.read(found.key, start, length, version=found.version)
        if len(got.data) != length:  # the store gives another size than when it was looked at
            raise VersionChanged(where=f"{self._source.name} {found.key}")
        crc = await self._digests.add(number, got.data)
        if old is None:
            self._attempt.ensure_lease_held()
            await self._record(await self._destination.write_part(self._upload, number, got.data, crc))
        elif old.crc32c not in ("", crc):
            where = f"{self._destination.name} {self._upload.key}"
            raise ChecksumMismatch(f"part {number} was sent before with other bytes", where=where)
        else:
            self._done[number] = replace(old, crc32c=crc)


class _CopiedParts(_Parts):
    """Parts that the provider copies."""

    def _is_complete(self, old: Part) -> bool:
        return True

    def _memory(self, length: int) -> int:
        return 0

    def _checksums(self) -> Checksums:
        return self._found.checksums

    async def _transfer(self, number: int, length: int) -> None:
        source = self._source.copy_source
        assert source is not None  # or another strategy is chosen
        self._attempt.ensure_lease_held()
        await self._record(await self._destination.copy_part(self._upload, number, source, self._found))


def _is_transient(error: BaseException) -> bool:
    """Return True if another attempt, or another worker, can resume the upload."""
    return isinstance(error, asyncio.CancelledError | Fenced) or (isinstance(error, SkyferryError) and error.outage)


def _first_error(group: BaseExceptionGroup[SkyferryError]) -> SkyferryError:
    """Return the error to report for a group: one that ends the transfer goes before one that is retried."""
    flat = [error for error in flatten_group(group) if isinstance(error, SkyferryError)]
    return min(flat, key=lambda e: e.outage) if flat else StoreError()
