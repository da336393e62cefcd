"""Large objects: ranges read and parts written in parallel, within the memory budget, digested as they pass.

Or copied part by part by the provider itself. Either way every part that the store has taken is remembered, so that
whoever has the claim next goes on with the same upload, if it is of the same source version and would be made alike.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from skyferry.engine.consume.attempt import Attempt
from skyferry.engine.copy import verify as proof
from skyferry.engine.copy.digests import PartDigests
from skyferry.engine.copy.resuming import Large, agreed, give_up, lengths
from skyferry.engine.resilience.memory_budget import MemoryBudget
from skyferry.errors import ChecksumMismatch, Fenced, SkyferryError, StoreError, UploadGone
from skyferry.model import Checksums, Part, Progress, Upload
from skyferry.ports import Offload


@dataclass(frozen=True, slots=True)
class PartLimits:
    """Of LimitSettings."""

    size: int = 8 * 2**20  # bytes of one part; objects up to this are written whole
    concurrency: int = 4  # parts of one object at the same time
    first_read: int = 256 * 2**10  # bytes read before the size is known
    copied: int = 256 * 2**20  # bytes of a part that the provider copies by itself: none passes through memory


@dataclass(slots=True)
class Sent:
    """All parts are at the destination; `finished` once the object is visible."""

    upload: Upload
    parts: list[Part]
    checksums: Checksums  # of the bytes that passed, or as the source declares them if none did
    finished: bool = field(default=False)


class PartCopier:
    """Sends the parts of large objects."""

    def __init__(self, budget: MemoryBudget, offload: Offload, limits: PartLimits) -> None:
        self.budget, self.offload, self.limits = budget, offload, limits

    @asynccontextmanager
    async def upload(self, large: Large, attempt: Attempt) -> AsyncIterator[Sent]:
        """Send the parts that are missing, then the body finishes the upload.

        After an error that says nothing about the object, the upload is kept for the next attempt; else it is aborted.
        """
        progress = await self._open(large, attempt)
        try:
            sent = await _Sending(self, large, progress, attempt).run()
            yield sent
        except BaseException as error:
            if not (large.store.traits.resumable and _passes(error)):
                await asyncio.shield(give_up(large.store, attempt.uploads, progress))
            raise
        if sent.finished:
            attempt.uploads.close(sent.upload.id)

    async def _open(self, large: Large, attempt: Attempt) -> Progress:
        """The upload to go on with, or a new one; others to the same key are given up."""
        attempt.ensure_lease_held()
        old = large.resumable(attempt)
        for other in [p for p in attempt.uploads.known.values() if p is not old]:
            await give_up(large.store, attempt.uploads, other)
        if old is not None:
            try:
                return agreed(old, await large.store.uploaded_parts(old.upload), large.store.traits)
            except UploadGone:
                attempt.uploads.close(old.upload.id)
        attempt.ensure_lease_held()
        upload = await large.store.start_upload(large.key, large.found.size, large.part_size, large.attributes)
        progress = Progress(attempt.claim.transfer.store, upload, large.ref)
        try:
            await attempt.remember_upload(progress)
        except BaseException:  # nobody remembers it
            await asyncio.shield(give_up(large.store, attempt.uploads, progress))
            raise
        return progress


class _Sending:
    """The parts of one upload."""

    def __init__(self, copier: PartCopier, large: Large, progress: Progress, attempt: Attempt) -> None:
        self._c, self._large, self._upload, self._attempt = copier, large, progress.upload, attempt
        self._known = {part.number: part for part in progress.parts}
        self._parts: dict[int, Part] = {}
        asked = proof.needed(large.found.checksums, large.event)
        self._digests = PartDigests(copier.offload, asked if self._known else asked | {"sha256"})
        at_once = copier.limits.concurrency if large.store.traits.parallel_parts else 1
        self._places = asyncio.Semaphore(at_once)

    async def run(self) -> Sent:
        """Memory is taken in the order of the parts, so the one whose turn it is to be digested always has some."""
        try:
            async with asyncio.TaskGroup() as group:
                for number, length in lengths(self._upload).items():
                    if not self._is_there(number, length):
                        await self._start(group, number, length)
        except* SkyferryError as failed:
            raise _first(failed) from failed
        checksums = self._large.found.checksums if self._large.by_provider else self._digests.result()
        return Sent(self._upload, [self._parts[number] for number in sorted(self._parts)], checksums)

    def _is_there(self, number: int, length: int) -> bool:
        """Whether nothing is left to do for this part."""
        old = self._known.get(number)
        if old is None or (not self._large.by_provider and (self._digests.whole or not old.crc32c)):
            return False
        self._parts[number] = old
        if old.crc32c:
            self._digests.know(number, old.crc32c, length)
        return True

    async def _start(self, group: asyncio.TaskGroup, number: int, length: int) -> None:
        held = 0 if self._large.by_provider else length
        await self._places.acquire()
        if held:
            await self._c.budget.take(held)
        work: Coroutine[Any, Any, None] = self._copy(number) if self._large.by_provider else self._send(number, length)
        task = group.create_task(work, name=f"part {number} of {self._upload.key}")
        task.add_done_callback(partial(self._free, held))  # also if it never starts

    def _free(self, held: int, _: asyncio.Task[None]) -> None:
        self._c.budget.give(held)
        self._places.release()

    async def _send(self, number: int, length: int) -> None:
        source, found, old = self._large.source, self._large.found, self._known.get(number)
        start = (number - 1) * self._upload.part_size
        got = await source.read(found.key, start, length, version=found.version)
        crc = await self._digests.add(number, got.data)
        if old is None:
            self._attempt.ensure_lease_held()
            await self._took(await self._large.store.write_part(self._upload, number, got.data, crc))
        elif old.crc32c not in ("", crc):
            where = f"{self._large.store.name} {self._upload.key}"
            raise ChecksumMismatch(f"part {number} was sent before with other bytes", where=where)
        else:
            self._parts[number] = replace(old, crc32c=crc)

    async def _copy(self, number: int) -> None:
        assert self._large.source.copy_source is not None  # asked for only where there is one
        self._attempt.ensure_lease_held()
        copied = self._large.store.copy_part(self._upload, number, self._large.source.copy_source, self._large.found)
        await self._took(await copied)

    async def _took(self, part: Part) -> None:
        self._parts[part.number] = part
        await self._attempt.remember_part(self._upload.id, part)


def _passes(error: BaseException) -> bool:
    """Whether another attempt, or another worker, may go on after it."""
    return isinstance(error, asyncio.CancelledError | Fenced) or (isinstance(error, SkyferryError) and error.outage)


def _first(group: BaseExceptionGroup[SkyferryError]) -> SkyferryError:
    """The error to report for a group: one that ends the transfer before one that is tried again."""
    flat: list[SkyferryError] = []
    todo: list[BaseException] = [group]
    while todo:
        item = todo.pop(0)
        if isinstance(item, BaseExceptionGroup):
            todo.extend(item.exceptions)
        elif isinstance(item, SkyferryError):
            flat.append(item)
    return min(flat, key=lambda e: e.outage) if flat else StoreError()
