"""Large objects: ranges read and parts written in parallel, within the memory budget, digested as they pass."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

from skyferry.engine.admission import MemoryBudget
from skyferry.engine.digest import PartDigests
from skyferry.errors import SkyferryError, StoreError, Unsupported
from skyferry.model import Attributes, Checksums, ObjectMeta, Traits
from skyferry.ports import ObjectStore, Offload, Part, Upload


@dataclass(frozen=True, slots=True)
class PartLimits:
    """Of LimitSettings."""

    size: int = 8 * 2**20  # bytes of one part; objects up to this are written whole
    concurrency: int = 4  # parts of one object at the same time
    first_read: int = 256 * 2**10  # bytes read before the size is known


@dataclass(frozen=True, slots=True)
class Source:
    """One version of one object."""

    store: ObjectStore
    key: str
    meta: ObjectMeta


@dataclass(slots=True)
class Sent:
    """All parts are at the destination; `finished` once the object is visible."""

    upload: Upload
    parts: list[Part]
    checksums: Checksums
    finished: bool = field(default=False)


class PartCopier:
    """Sends the parts of large objects."""

    def __init__(self, budget: MemoryBudget, offload: Offload, limits: PartLimits) -> None:
        self._budget, self._offload, self._limits = budget, offload, limits

    @asynccontextmanager
    async def upload(
        self, source: Source, store: ObjectStore, key: str, attributes: Attributes, still_ours: Callable[[], None]
    ) -> AsyncIterator[Sent]:
        """Send all parts, then the body finishes the upload; one that it does not finish is aborted."""
        size = source.meta.size
        upload = await store.start_upload(key, size, part_size(size, self._limits.size, store.traits), attributes)
        sent: Sent | None = None
        try:
            sent = await self._send(source, store, upload, still_ours)
            yield sent
        finally:
            if sent is None or not sent.finished:
                with contextlib.suppress(SkyferryError):  # an orphan is found by its age; the first error matters more
                    await asyncio.shield(store.abort_upload(upload))

    async def _send(self, source: Source, store: ObjectStore, upload: Upload, still_ours: Callable[[], None]) -> Sent:
        """Memory is taken in the order of the parts, so the one whose turn it is to be digested always has some."""
        count = -(-upload.size // upload.part_size)
        digests = PartDigests(self._offload)
        parts: list[Part | None] = [None] * count
        places = asyncio.Semaphore(self._limits.concurrency if store.traits.parallel_parts else 1)

        async def send(number: int, length: int) -> None:
            start = (number - 1) * upload.part_size
            got = await source.store.read(source.key, start, length, version=source.meta.version)
            crc = await digests.add(number, got.data)
            still_ours()
            parts[number - 1] = await store.write_part(upload, number, got.data, crc)

        def free(length: int, _: asyncio.Task[None]) -> None:
            self._budget.give(length)
            places.release()

        try:
            async with asyncio.TaskGroup() as group:
                for number in range(1, count + 1):
                    length = min(upload.part_size, upload.size - (number - 1) * upload.part_size)
                    await places.acquire()
                    await self._budget.take(length)
                    task = group.create_task(send(number, length), name=f"part {number} of {upload.key}")
                    task.add_done_callback(partial(free, length))  # also if it never starts
        except* SkyferryError as failed:
            raise _first(failed) from failed
        return Sent(upload, [p for p in parts if p is not None], digests.result())


def part_size(size: int, wanted: int, traits: Traits) -> int:
    """Bytes per part: as wanted, unless the store needs larger ones to hold the object. Raises Unsupported."""
    least = max(wanted, traits.min_part, -(-size // traits.max_parts))
    rounded = -(-least // 2**20) * 2**20 if least > wanted else least
    if rounded > traits.max_part:
        raise Unsupported(f"an object of {size} bytes does not fit into {traits.max_parts} parts")
    return rounded


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
