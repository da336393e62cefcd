"""Join the listing of a store with the placements in the ledger, one page at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Collection, Iterable, Iterator, Sequence
from typing import TypeVar

from skyferry.errors import SkyferryError
from skyferry.model import ObjectMeta, ObjectRef, Placement, Position
from skyferry.ports.ledger.placements import Placements
from skyferry.ports.listing import PagedListing, read_pages
from skyferry.tasks.group import TaskGroup

PAGE = 500  # objects in a page, to bound the memory
AT_ONCE = 16  # concurrent requests to a store
T = TypeVar("T")
DestinationKey = tuple[str, str]  # store and key


async def paginate(items: AsyncIterator[T], size: int = PAGE) -> AsyncIterator[list[T]]:
    """Yield the items in lists of `size`; only the last may be shorter, and none is empty."""
    page: list[T] = []
    async for more in read_pages(items):
        page += more
        while len(page) >= size:
            yield page[:size]
            del page[:size]
    if page:
        yield page


async def find_placements(ledger: Placements, keys: Iterable[DestinationKey]) -> dict[DestinationKey, Placement | None]:
    """Return the placement of each destination key, with one query for each store."""
    by_store: dict[str, dict[str, None]] = {}
    for store, key in keys:
        by_store.setdefault(store, {})[key] = None
    found: dict[DestinationKey, Placement | None] = {}
    for store, wanted in by_store.items():
        placements = await ledger.get_placements(store, list(wanted))
        found.update(((store, key), placement) for key, placement in zip(wanted, placements, strict=True))
    return found


def has_copy(
    placement: Placement | None, source: ObjectRef, version: str, identities: tuple[str, ...] = (), key: str = ""
) -> bool:
    """Return True if a destination key has a copy of this version, in a store with one of the identities.

    `key` is that of the source object, unless it is that of `source`.

    Listings of S3 have the ETag of a version, but not its id. The version of a placement contains both.
    """
    if placement is None or placement.deleted or not placement.is_in(identities):
        return False
    if not placement.is_from(source, key):
        return False
    copied = placement.source.version
    return copied == version or (version.startswith('"') and version in copied)


def was_written_since(copy: Placement | None, now: Position | None) -> bool:
    """Return True if the source was written after a copy, also with the same bytes.

    A listing may give the time that a read gave in whole seconds with a fraction.
    """
    for seen in copy.positions if copy and now else ():
        if now and seen.scheme == now.scheme and seen.value < now.value:
            whole = not now.exact and seen.value.endswith("0" * 9)
            return not whole or seen.value[:-9] < now.value[:-9]
    return False


def is_current(placement: Placement | None, source: ObjectRef, meta: ObjectMeta) -> bool:
    """Return True if a destination key has a copy of this version of an object, which was not written since."""
    return has_copy(placement, source, meta.version, key=meta.key) and not was_written_since(placement, meta.position)


def select_current(
    placements: Iterable[Placement | None], source: ObjectRef, listed: Sequence[tuple[ObjectMeta, str]]
) -> set[str]:
    """Return the destination keys of the listed objects of which a copy is current. The placements are those of these keys."""
    pairs = zip(listed, placements, strict=True)
    return {to for (meta, to), placement in pairs if is_current(placement, source, meta)}


async def map_keys(keys: Iterable[str], look: Callable[[str], Awaitable[T]]) -> list[T]:
    """Return the result of `look` for each key, in order, AT_ONCE at a time. Raises the first error."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def look_at(key: str) -> T:
        async with gate:
            return await look(key)

    try:
        async with TaskGroup() as group:
            tasks = [group.create_task(look_at(key), name=f"look for {key}") for key in keys]
    except* SkyferryError as failed:
        raise failed.exceptions[0] from failed
    return [task.result() for task in tasks]


class OrderedListing:
    """A listing in which keys are looked up in ascending order. It is read on demand, from the first look-up on.

    A store need not list in the order of the bytes: an object that is not found may still exist.
    """

    def __init__(self, metas: AsyncIterator[ObjectMeta]) -> None:
        self._listing, self._pages = metas, read_pages(metas)
        self._rest: Iterator[ObjectMeta] = iter(())  # of the page
        self._next: ObjectMeta | None = None
        self._begun = False

    async def find(self, key: str) -> ObjectMeta | None:
        """Return the object with this key, or None if the listing does not have it at its place."""
        return (await self.find_all((key,))).get(key)

    async def find_all(self, keys: Collection[str]) -> dict[str, ObjectMeta]:
        """Call `find` for each key, at a fraction of the cost. Keys that it does not find are left out."""
        found = dict[str, ObjectMeta]()
        if keys and not self._begun:
            self._begun, self._next = True, await self._turn()
        rest, meta = self._rest, self._next
        for key in keys:
            while meta is not None and meta.key < key:
                meta = next(rest, None)
                if meta is None:
                    meta, rest = await self._turn(), self._rest
            if meta is not None and meta.key == key:
                found[key] = meta
        self._next = meta
        return found

    async def _turn(self) -> ObjectMeta | None:
        """Read the next page that is not empty, and return its first object; None after the last page."""
        async for page in self._pages:
            if page:
                self._rest = iter(page)
                return next(self._rest)
        return None

    async def close(self) -> None:
        """End the listing early."""
        await close_iterator(self._listing)
        await close_iterator(self._pages)


async def close_iterator(items: AsyncIterator[object]) -> None:
    """Close an iterator that is not read to its end, at once instead of when it is collected."""
    if isinstance(items, (AsyncGenerator, PagedListing)):
        await items.aclose()
