"""Rebuild a lost ledger from the provenance in the metadata of destination objects."""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Protocol
from urllib.parse import unquote

from skyferry.engine.copy import provenance
from skyferry.errors import InvalidKey, ObjectNotFound
from skyferry.frozen import dataclass
from skyferry.model import (
    Change,
    Checksums,
    Claim,
    ObjectMeta,
    ObjectRef,
    Placement,
    Position,
    Provider,
    Receipt,
    Transfer,
)
from skyferry.ports import Claims, Clock, Done, ObjectStore, Placements, Settlement
from skyferry.ports.joins import PAGE, map_keys, paginate
from skyferry.routing.routes import Route

_ID = re.compile("[0-9a-f]{32}")


class RebuildLedger(Claims, Placements, Protocol):
    """The parts of the ledger that a rebuild uses."""


@dataclass(slots=True)
class RebuildCounts:
    """The counts of one destination."""

    store: str
    objects: int = 0
    remembered: int = 0  # now
    known: int = 0  # already in the ledger: left as they were
    strangers: int = 0  # not copied there by a configured route
    elsewhere: int = 0  # copied from a store of the same name on another machine, or at another server
    untold: int = 0  # their provenance contains only a hash of the origin, which was too long


async def rebuild_ledger(
    ledger: RebuildLedger, stores: Mapping[str, ObjectStore], routes: Iterable[Route], clock: Clock
) -> AsyncIterator[RebuildCounts]:
    """Record the origin of each object at the destinations in `stores`. Yield the running counts after each page.

    Routes without marks of their sources take copies of same-named sources on other machines, too.

    Records that exist stay as they are, so a rebuild may be repeated. Raises StoreError, LedgerError.
    """
    every = list(routes)
    for name in dict.fromkeys(route.store for route in every):
        found = RebuildCounts(name)
        own = [route for route in every if route.store == name]
        async for metas in paginate(stores[name].list(), PAGE):
            await _Page(ledger, stores[name], own, clock, found).take(metas)
            yield found
        if not found.objects:
            yield found


def parse_origin(text: str, key: str) -> ObjectRef | None:
    """Return the object that `skyferry-source` names, or None. If it contains only a hash of the key, try `key`."""
    name, _, rest = text.partition("://")
    bucket, _, path = rest.partition("/")
    if name not in list(Provider) or not bucket or not path:
        return None
    ref = ObjectRef(Provider(name), unquote(bucket), key if path.startswith("#") else unquote(path))
    return ref if provenance.format_source(ref) == text else None


@dataclass(frozen=True, slots=True)
class _Page:
    ledger: RebuildLedger
    store: ObjectStore
    routes: Sequence[Route]
    clock: Clock
    found: RebuildCounts

    async def take(self, metas: Sequence[ObjectMeta]) -> None:
        self.found.objects += len(metas)
        placed = await self.ledger.get_placements(self.store.name, [meta.key for meta in metas])
        here = next((route.identities for route in self.routes if route.store == self.store.name), ())
        found = zip(metas, placed, strict=True)
        fresh = [meta for meta, known in found if known is None or not known.is_in(here)]
        self.found.known += len(metas) - len(fresh)
        copied = {}
        for meta in await self._with_stamps(fresh):
            if transfer := self._transfer(meta):
                copied[transfer.id, transfer.key] = (transfer, meta)
        await self._remember(list(copied.values()))

    async def _with_stamps(self, metas: Sequence[ObjectMeta]) -> list[ObjectMeta]:
        """Complete them by HEAD if the listing contains no metadata."""

        async def look(key: str) -> ObjectMeta | None:
            try:
                return await self.store.head(key)
            except (ObjectNotFound, InvalidKey):  # no request can name a key that is no Unicode
                return None

        bare = [meta.key for meta in metas if not provenance.read_provenance(meta).source]
        found = dict(zip(bare, await map_keys(bare, look), strict=True))
        return [whole for meta in metas if (whole := found.get(meta.key, meta)) is not None]

    def _transfer(self, meta: ObjectMeta) -> Transfer | None:
        """Return the transfer that made this object; None if by its provenance no route did from its source here."""
        mark = provenance.read_provenance(meta)
        source = parse_origin(mark.source, meta.key)
        if source is None and "/#" in mark.source:
            self.found.untold += 1
            return None
        routes = [route for route in self.routes if source and route.source == (source.provider, source.bucket)]
        if source is None or not routes:
            self.found.strangers += 1
            return None
        if not (routes := [route for route in routes if provenance.is_from_source(mark, route)]):
            self.found.elsewhere += 1
            return None
        route = next((route for route in routes if route.takes(source.key)), routes[0])
        name = f"{route.name}\0{mark.source}\0{mark.version}\0{self.store.name}\0{meta.key}"
        made = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
        ident = mark.transfer_id if _ID.fullmatch(mark.transfer_id) else made
        return Transfer(
            ident,
            route.name,
            Change.CREATED,
            source,
            route.source_store,
            route.store,
            meta.key,
            event_id=f"rebuilt-{ident}",
            correlation_id=f"rebuilt-{ident}",
            occurred_at=_when(mark.position, meta),
            position=mark.position,
            size=meta.size,
            identities=route.identities,
        )

    async def _remember(self, copied: Sequence[tuple[Transfer, ObjectMeta]]) -> None:
        if not copied:
            return
        answers = await self.ledger.claim([transfer for transfer, _ in copied])
        claims = [(a, meta) for a, (_, meta) in zip(answers, copied, strict=True) if isinstance(a, Claim)]
        recorded = await self.ledger.settle([Settlement(claim, self._done(claim, meta)) for claim, meta in claims])
        self.found.remembered += sum(recorded)
        self.found.known += len(copied) - len(claims)

    def _done(self, claim: Claim, meta: ObjectMeta) -> Done:
        """Return the outcome of its copy, as far as the destination object records it."""
        t, mark, now = claim.transfer, provenance.read_provenance(meta), self.clock.time()
        sums, nothing = meta.checksums, Checksums()
        receipt = Receipt(mark.version, meta.version, meta.size, nothing, nothing, sums, mark.position, now, now, 1)
        source = ObjectRef(t.source.provider, t.source.bucket, t.source.key, version=mark.version)
        positions = (mark.position,) if mark.position else ()
        where = next(iter(t.identities), "")
        at = t.occurred_at
        placement = Placement(
            t.store, t.key, source, False, positions, at, meta.version, t.id, now, where, mark.carried
        )
        return Done(receipt, placement)


def _when(position: Position | None, meta: ObjectMeta) -> float:
    if position is not None and position.scheme == "time" and position.value.isdigit():
        return int(position.value) / 1e9
    return meta.modified
