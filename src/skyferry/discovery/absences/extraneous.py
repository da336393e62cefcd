"""Delete the objects of a destination that its source does not have: `skyferry copy --delete`.

An absence is not a delete: nothing is deleted because the source is empty, and no more than a limit allows. Each object is
deleted only after the source was asked for it and did not have it. What a filter excludes stays.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from tempfile import SpooledTemporaryFile
from typing import IO

import orjson

from skyferry.config.max_deletes import MaxDeletes
from skyferry.discovery.absences.limits import MissingObjects, find_hold_reason
from skyferry.errors import InvalidKey, ObjectNotFound, PermissionDenied, PreconditionFailed, SkyferryError
from skyferry.frozen import dataclass
from skyferry.ports import ANY, ObjectStore, Precondition
from skyferry.ports.joins import OrderedListing, close_iterator
from skyferry.ports.ledger.held_deletes import Why

AT_ONCE = 32  # objects that are looked at and deleted at the same time
IN_MEMORY = 2**20  # bytes of keys: more are on disk


@dataclass(frozen=True, slots=True)
class MirrorEnds:
    """Both stores, and the prefixes below which the destination mirrors the source."""

    source: ObjectStore
    destination: ObjectStore
    from_prefix: str
    to_prefix: str
    takes: Callable[[str], bool]  # accepts a key without its prefix


@dataclass(frozen=True, slots=True)
class Extraneous:
    """The keys that are only at the destination."""

    keys: IO[bytes]
    count: int
    bytes: int
    source_empty: bool

    def find_hold_reason(self, limit: MaxDeletes, staying: int) -> Why | None:
        """Return the reason not to delete them. `staying` objects of the source will be at the destination.

        A few are always allowed, unless no object would be left. `staying` may have been counted before the source lost all.
        """
        staying = 0 if self.source_empty else staying
        missing = MissingObjects(self.count, seen=True, empty=self.source_empty)
        return find_hold_reason(limit, missing, self.count + staying)

    def __iter__(self) -> Iterator[tuple[str, int]]:
        """Iterate over keys and sizes."""
        self.keys.seek(0)
        for line in self.keys:
            key, size = orjson.loads(line)
            yield key, size


def open_spool() -> IO[bytes]:
    """Open a file for keys, in memory while they are few. The caller closes it."""
    return SpooledTemporaryFile(max_size=IN_MEMORY)


async def find_extraneous(ends: MirrorEnds, spool: IO[bytes]) -> Extraneous:
    """Compare both listings. Where an order is not that of the bytes, the source is asked for each key. Raises StoreError."""
    count = size = 0
    ordered = ends.source.traits.order == ends.destination.traits.order == "bytes"
    first = ends.source.list(ends.from_prefix)
    source_empty = await anext(first, None) is None
    await close_iterator(first)
    mine = OrderedListing(ends.source.list(ends.from_prefix))
    async for meta in ends.destination.list(ends.to_prefix):
        relative = meta.key[len(ends.to_prefix) :]
        if not ends.takes(relative):
            continue
        if await mine.find(ends.from_prefix + relative) or (not ordered and not await _is_missing(ends, relative)):
            continue
        try:
            line = orjson.dumps([meta.key, meta.size])
        except TypeError:  # the key is no Unicode, so no request can name it
            continue
        spool.write(line + b"\n")
        count, size = count + 1, size + meta.size
    await mine.close()
    return Extraneous(spool, count, size, source_empty)


async def delete_extraneous(
    ends: MirrorEnds,
    extraneous: Extraneous,
    deleted: Callable[[str, int], object],
    failed: Callable[[str, SkyferryError], object],
    stopped: Callable[[], bool] = lambda: False,
) -> None:
    """Delete what the source still lacks, until `stopped`. `deleted` gets each key and its size, `failed` each error."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def delete(key: str, size: int) -> None:
        try:
            if await _is_missing(ends, key[len(ends.to_prefix) :]) and await _delete(ends.destination, key):
                deleted(key, size)
        except SkyferryError as error:
            failed(key, error)
        finally:
            gate.release()

    async with asyncio.TaskGroup() as tasks:
        for key, size in extraneous:
            await gate.acquire()
            if stopped():
                break
            tasks.create_task(delete(key, size), name=f"delete {key}")


async def _is_missing(ends: MirrorEnds, relative: str) -> bool:
    """Return True if the source says that it has no such object. A link or a missing right may hide one."""
    try:
        await ends.source.head(ends.from_prefix + relative)
    except ObjectNotFound:
        return True
    except (InvalidKey, PermissionDenied):
        return False
    return False


async def _delete(store: ObjectStore, key: str) -> bool:
    """Delete the object as it is now, as exactly as the store can. Return False if it is gone or was just replaced."""
    try:
        found = await store.head(key)
        exact = store.traits.delete_exact or found.kept
        await store.delete(key, Precondition(replace=found.version) if exact else ANY)
    except (ObjectNotFound, PreconditionFailed):
        return False
    return True
