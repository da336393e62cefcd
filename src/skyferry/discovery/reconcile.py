"""Find changes of an unwatched source: compare its listing with the placements in the ledger."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from skyferry.discovery.folder.look import event_of
from skyferry.errors import InvalidKey, ObjectNotFound, PermissionDenied, SkyferryError
from skyferry.model import Change, ObjectEvent, ObjectMeta, ObjectRef, Placement, Position, Provider, Transfer
from skyferry.ports import ObjectStore, Placements
from skyferry.routing.routes import Route, Routes

T = TypeVar("T")


async def _unheard(keys: Sequence[str]) -> None:
    """Ignore the listed keys."""


PAGE = 500  # objects compared at once, to bound the memory
HEADS = 16  # concurrent existence checks


@dataclass(frozen=True, slots=True)
class Reconciler:
    """Compare one source with the ledger. Events are only hints, so it reports a change in case of doubt."""

    store: ObjectStore  # the source
    provider: Provider  # as events name it
    bucket: str
    routes: Routes
    ledger: Placements
    now: Callable[[], float]  # seconds since 1970
    listed: Callable[[Sequence[str]], Awaitable[None]] = _unheard  # gets the keys of each page of the listing

    async def events(self, prefixes: Sequence[str] = ("",)) -> AsyncIterator[list[ObjectEvent]]:
        """Yield up to PAGE events at a time, for objects whose key begins with one of the prefixes.

        Created: a route takes the object, and its destination does not have this version. Deleted: the object is at the
        destination of a route that propagates deletes, but no longer in the source. Raises StoreError and LedgerError;
        an unreachable source never yields deletes.
        """
        for prefix in prefixes:
            async for metas in _pages(self.store.list(prefix)):
                await self.listed([meta.key for meta in metas])
                if found := await self._created(metas):
                    yield found
            for route in self.routes:
                if route.source == (self.provider, self.bucket) and route.deletes == "propagate":
                    async for gone in _pages(self._unlisted(route, prefix)):
                        if found := await self._deleted(gone):
                            yield found

    async def _created(self, metas: Sequence[ObjectMeta]) -> list[ObjectEvent]:
        wanted = [(meta, event, self.routes.match(event)) for meta in metas for event in [self._event(meta)]]
        held = await self._held([t for _, _, transfers in wanted for t in transfers])
        return [
            event
            for meta, event, transfers in wanted
            if any(not _holds(held[t.store, t.key], t, meta.version) for t in transfers)
        ]

    async def _held(self, transfers: Sequence[Transfer]) -> dict[tuple[str, str], Placement | None]:
        held: dict[tuple[str, str], Placement | None] = {}
        for store in {t.store for t in transfers}:
            keys = list(dict.fromkeys(t.key for t in transfers if t.store == store))
            placements = await self.ledger.get_placements(store, keys)
            held |= {(store, key): placement for key, placement in zip(keys, placements, strict=True)}
        return held

    def _event(self, meta: ObjectMeta) -> ObjectEvent:
        clock = Position.at(int(meta.modified * 1e9))
        position = clock if meta.position is None or meta.position.exact else meta.position
        return event_of(Change.CREATED, self._ref(meta.key), meta.version, position, meta.size)

    async def _unlisted(self, route: Route, prefix: str) -> AsyncIterator[Placement]:
        """Yield the placements of this route that may have lost their source object.

        If the route keeps keys unchanged, both sides have the same order and the listing excludes most placements.
        Otherwise all placements are candidates.
        """
        same = route.template.text == "{key}"
        listed = self.store.list(prefix) if same else _nothing()
        placements = self.ledger.list_placements(route.store, self.bucket, prefix if same else "")
        try:
            newest = await anext(listed, None)
            async for placed in placements:
                key = placed.source.key
                if same and not placed.key.startswith(prefix):
                    break
                mine = placed.source.provider == self.provider and placed.is_in(route.identities)
                if not mine or not key.startswith(prefix) or not route.takes(key):
                    continue
                while newest and newest.key < placed.key:
                    newest = await anext(listed, None)
                if newest is None or newest.key != key:
                    yield placed
        finally:
            await _close(listed)
            await _close(placements)

    async def _deleted(self, placements: Sequence[Placement]) -> list[ObjectEvent]:
        gate = asyncio.Semaphore(HEADS)

        async def look(key: str) -> ObjectEvent | SkyferryError | None:
            async with gate:
                at = Position.at(int(self.now() * 1e9))  # before the look
                try:
                    await self.store.head(key)
                except ObjectNotFound:
                    return event_of(Change.DELETED, self._ref(key), "", at, None)
                except (
                    PermissionDenied,
                    InvalidKey,
                ):  # a folder or a link hides the object, which may still exist
                    return None
                except SkyferryError as error:
                    return error
                return None

        async with asyncio.TaskGroup() as tasks:
            keys = dict.fromkeys(p.source.key for p in placements)
            looks = [tasks.create_task(look(key), name=f"look for {key}") for key in keys]
        found = [result for task in looks if (result := task.result())]
        if errors := [e for e in found if isinstance(e, SkyferryError)]:
            raise errors[0]
        return [e for e in found if isinstance(e, ObjectEvent)]

    def _ref(self, key: str) -> ObjectRef:
        return ObjectRef(self.provider, self.bucket, key)


def _holds(placement: Placement | None, transfer: Transfer, version: str) -> bool:
    return (
        placement is not None
        and not placement.deleted
        and placement.is_in(transfer.identities)
        and placement.is_from(transfer.source)
        and placement.source.version == version
    )


async def _pages(items: AsyncIterator[T]) -> AsyncIterator[list[T]]:
    page: list[T] = []
    async for item in items:
        page.append(item)
        if len(page) == PAGE:
            yield page
            page = []
    if page:
        yield page


async def _nothing() -> AsyncIterator[ObjectMeta]:
    return
    yield


async def _close(items: AsyncIterator[object]) -> None:
    if isinstance(items, AsyncGenerator):
        await items.aclose()
