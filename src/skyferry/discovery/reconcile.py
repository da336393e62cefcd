"""Find changes of an unwatched source: compare its listing with the placements in the ledger."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

from skyferry.discovery.folder.inspector import build_event
from skyferry.errors import InvalidKey, ObjectNotFound, PermissionDenied
from skyferry.frozen import dataclass
from skyferry.model import Change, ObjectEvent, ObjectMeta, ObjectRef, Placement, Position, Provider
from skyferry.ports import ObjectStore, Placements
from skyferry.ports.joins import PAGE, OrderedListing, close_iterator, find_placements, has_copy, map_keys, paginate
from skyferry.routing.routes import Route, Routes


async def _ignore_keys(keys: Sequence[str]) -> None:
    """Ignore the listed keys."""


@dataclass(frozen=True, slots=True)
class Reconciler:
    """Compare one source with the ledger. Events are only hints, so it reports a change in case of doubt."""

    store: ObjectStore  # the source
    provider: Provider  # as events name it
    bucket: str
    routes: Routes
    ledger: Placements
    now: Callable[[], float]  # seconds since 1970
    on_listed: Callable[[Sequence[str]], Awaitable[None]] = _ignore_keys  # gets the keys of each page of the listing

    async def find_changes(self, prefixes: Sequence[str] = ("",)) -> AsyncIterator[list[ObjectEvent]]:
        """Yield up to PAGE events at a time, for objects whose key begins with one of the prefixes.

        Created: a route takes the object, and its destination does not have this version. Deleted: the object is at the
        destination of a route that propagates deletes, but no longer in the source. Raises StoreError and LedgerError;
        an unreachable source never yields deletes.
        """
        for prefix in prefixes:
            async for metas in paginate(self.store.list(prefix), PAGE):
                await self.on_listed([meta.key for meta in metas])
                if found := await self._find_created(metas):
                    yield found
            for route in self.routes:
                if route.source == (self.provider, self.bucket) and route.deletes == "propagate":
                    async for gone in paginate(self._find_unlisted(route, prefix), PAGE):
                        if found := await self._find_deleted(gone):
                            yield found

    async def _find_created(self, metas: Sequence[ObjectMeta]) -> list[ObjectEvent]:
        wanted = [(meta, meta.version, self.routes.match(self._candidate(meta))) for meta in metas]
        held = await find_placements(self.ledger, ((t.store, t.key) for _, _, transfers in wanted for t in transfers))
        return [
            build_event(Change.CREATED, self._ref(meta.key), version, _position(meta), meta.size)
            for meta, version, transfers in wanted
            if any(not has_copy(held[t.store, t.key], t.source, version, t.identities) for t in transfers)
        ]

    def _candidate(self, meta: ObjectMeta) -> ObjectEvent:
        """Return an event for `match` alone. Only an object that changed needs the id, which costs a digest."""
        position = _position(meta)
        return ObjectEvent("", Change.CREATED, self._ref(meta.key), meta.modified, "", position, size=meta.size)

    async def _find_unlisted(self, route: Route, prefix: str) -> AsyncIterator[Placement]:
        """Yield the placements of this route that may have lost their source object.

        If the route keeps keys unchanged, both sides have the same order and the listing excludes most placements.
        Otherwise all placements are candidates.
        """
        same = route.template.text == "{key}"
        listing = OrderedListing(self.store.list(prefix)) if same else None
        placements = self.ledger.list_placements(route.store, self.bucket, prefix if same else "")
        try:
            async for placed in placements:
                key = placed.source.key
                if same and not placed.key.startswith(prefix):
                    break
                mine = placed.source.provider == self.provider and placed.is_in(route.identities)
                if not mine or not key.startswith(prefix) or not route.takes(key):
                    continue
                listed = await listing.find(placed.key) if listing else None
                if listed is None or listed.key != key:
                    yield placed
        finally:
            if listing:
                await listing.close()
            await close_iterator(placements)

    async def _find_deleted(self, placements: Sequence[Placement]) -> list[ObjectEvent]:
        async def look(key: str) -> ObjectEvent | None:
            at = Position.at(int(self.now() * 1e9))  # before the look
            try:
                await self.store.head(key)
            except ObjectNotFound:
                return build_event(Change.DELETED, self._ref(key), "", at, None)
            except (PermissionDenied, InvalidKey):  # a folder or a link hides the object, which may still exist
                return None
            return None

        found = await map_keys(dict.fromkeys(placed.source.key for placed in placements), look)
        return [event for event in found if event is not None]

    def _ref(self, key: str) -> ObjectRef:
        return ObjectRef(self.provider, self.bucket, key)


def _position(meta: ObjectMeta) -> Position:
    position = meta.position
    return Position.at(int(meta.modified * 1e9)) if position is None or position.exact else position
