"""Check deletes before they reach the queue: an object that is missing from a listing is not always deleted.

The guard keeps suspicious deletes in the ledger until a person decides. A delete is suspicious if its listing exceeds the
limit of a route (`max_deletes`), if no object would be left, or if the folder was replaced. When an object returns, its
held delete is forgotten.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field, replace
from typing import Protocol

from skyferry.discovery.absences.limits import MissingObjects, count_needed, find_hold_reason
from skyferry.discovery.known_folder import KnownFolder
from skyferry.errors import StoreUnavailable
from skyferry.frozen import dataclass
from skyferry.model import Change, ObjectEvent, ObjectRef, Placement, Provider, Transfer
from skyferry.ports import Clock, HeldDelete, HeldDeletes, HeldFilter, Observer, Placements, held_id
from skyferry.ports.joins import find_placements
from skyferry.ports.ledger.held_deletes import Why
from skyferry.records import Record
from skyferry.routing.routes import Route, Routes

PAGE = 500  # held deletes per query
MOST = 2000  # deletes of one reconciliation in memory: more are held in the ledger until it ends
FRESH = 2.0  # seconds: a change that is more recent cannot precede a settled delete
BURST = 10.0  # seconds: watched deletes within this time count as simultaneous
COUNTED = 1000  # known objects counted at least: a scan of other sources' objects for each delete would be slow
SENT = 20_000  # sent deletes to remember, by key
HINT = "mount or restore the source; or decide: `skyferry deletes list`, then `approve` or `reject`"
MESSAGES: Mapping[Why, str] = {
    "limit": "more objects are missing at once than `max_deletes` of a route allows",
    "empty": "no object is left",
    "replaced": "the folder was replaced, or its disk is not mounted",
}
Affected = Mapping[str, tuple[str, ...]]  # routes that have a copy, by source key


class AbsenceLedger(Placements, HeldDeletes, Protocol):
    """The ledger's ports for placements and held deletes."""


@dataclass(frozen=True, slots=True)
class GuardedSource:
    """A guarded source with its routes and ports."""

    store: str  # its name
    provider: Provider  # as events name it
    bucket: str
    routes: Routes
    ledger: AbsenceLedger
    clock: Clock
    observer: Observer


@dataclass(slots=True)
class _Reconciliation:
    """The state of one reconciliation: the objects listed and missed so far."""

    whole: bool  # it covers the whole source; otherwise only folders that disappeared
    same: bool  # at the start, the source had the identity in the ledger, or the ledger had none
    known: bool  # at the start, the ledger had an identity of the source
    at: float  # seconds since 1970
    listed: int = 0
    missing: Counter[str] = field(default_factory=Counter)  # by route
    events: dict[str, ObjectEvent] = field(default_factory=dict)  # by key, MOST of them
    affected: dict[str, tuple[str, ...]] = field(default_factory=dict)  # routes with a copy, for the same keys
    held: int = 0  # deletes beyond MOST, already held in the ledger


class DeleteGuard:
    """Decide which deletes are sent and which wait for a person."""

    def __init__(self, guarded: GuardedSource, folder: KnownFolder) -> None:
        self._g, self._folder = guarded, folder
        self._sent: dict[str, tuple[float, tuple[str, ...]]] = {}  # by key: time (monotonic) and routes
        self._counted: dict[str, tuple[float, int]] = {}  # by route: time (monotonic) and lower bound of known objects
        self._current: _Reconciliation | None = None
        self._holding = True  # the ledger may contain held deletes of this source
        source = (guarded.provider, guarded.bucket)
        self._all = [route for route in guarded.routes if route.source == source]
        self._own = [route for route in self._all if route.deletes == "propagate"]

    async def filter_watched(self, events: list[ObjectEvent]) -> list[ObjectEvent]:
        """Return the watched events to send now."""
        created = [e for e in events if e.change is Change.CREATED]
        await self._forget_returned([e.source for e in created])
        renewed = await self._renew_ids(created)
        events = [renewed.get(e.event_id, e) for e in events]
        affected = await self._find_affected([e for e in events if e.change is Change.DELETED])
        if not affected:
            return events
        counts, since = _count_by_route(affected), self._g.clock.monotonic() - BURST
        counts += _count_by_route(
            {key: names for key, (at, names) in self._sent.items() if at >= since and key not in affected}
        )
        same = await self._folder.is_same()
        why = {
            name: await self._find_reason(name, MissingObjects(n, seen=True, same=same)) for name, n in counts.items()
        }
        waiting = {key: found for key, names in affected.items() if (found := _first_reason(why, names))}
        waiting |= dict.fromkeys(await self._folder.find_unmounted(affected), "replaced")
        await self._hold(affected, waiting, self._g.clock.time())
        self._record_sent({key: names for key, names in affected.items() if key not in waiting})
        return [e for e in events if e.change is Change.CREATED or e.source.key not in waiting]

    async def begin_reconciliation(self, prefixes: Sequence[str]) -> None:
        """Begin a reconciliation."""
        known, same = await self._folder.is_known(), await self._folder.is_same()
        self._current = _Reconciliation("" in prefixes, same, known, self._g.clock.time())
        if self._current.whole:
            await self._forget_ineffective()

    async def record_listed(self, keys: Sequence[str]) -> None:
        """Record keys that the source has."""
        if self._current:
            self._current.listed += len(keys)
        await self._forget_returned([self._ref(key) for key in keys])

    async def record_missing(self, events: Iterable[ObjectEvent]) -> None:
        """Record deletes of objects that the listing lacks."""
        current = self._current
        assert current is not None  # `begin_reconciliation` was called
        events = [e for e in events if e.source.key not in self._sent and e.source.key not in current.events]
        known = await self._g.ledger.find_held_deletes([held_id(e.source) for e in events])
        found = {e.source.key: e for e in events if held_id(e.source) not in known}
        affected = await self._find_affected(list(found.values()))
        away = await self._folder.find_unmounted(affected)
        await self._hold(affected, dict.fromkeys(away, "replaced"), current.at)
        affected = {key: names for key, names in affected.items() if key not in away}
        current.missing += _count_by_route(affected)
        current.affected |= affected
        current.events |= {key: found[key] for key in affected}
        if len(current.events) > MOST:
            why: Why = "limit" if current.same else "replaced"
            current.held += await self._remember(current.affected, dict.fromkeys(current.affected, why), current.at)
            current.events, current.affected = {}, {}

    async def end_reconciliation(self) -> list[ObjectEvent]:
        """Finish the reconciliation and return the deletes to send.

        Raises StoreUnavailable if the source was replaced meanwhile.
        """
        current, self._current = self._current, None
        assert current is not None  # `begin_reconciliation` was called
        if current.same and not await self._folder.is_same():
            raise StoreUnavailable("the folder was replaced while it was listed", where=self._g.store)
        missing = MissingObjects(
            0, seen=not current.whole, empty=current.whole and not current.listed, same=current.same
        )
        why = {name: await self._find_reason(name, replace(missing, count=n)) for name, n in current.missing.items()}
        waiting = {key: found for key, names in current.affected.items() if (found := _first_reason(why, names))}
        if current.held and not any(why.values()):
            await self._g.ledger.approve_deletes(HeldFilter(store=self._g.store, reason="limit", at=current.at))
            current.held = 0
        await self._hold(current.affected, waiting, current.at, current.held)
        if current.whole and await self._proves_identity(current):
            await self._folder.accept_identity()
        self._record_sent({key: names for key, names in current.affected.items() if key not in waiting})
        return [event for key, event in current.events.items() if key not in waiting]

    async def _proves_identity(self, current: _Reconciliation) -> bool:
        """Check that the listing proves the source's identity: it has most of the known objects."""
        if current.known and current.same:
            return True
        if not current.listed:
            return not any([await self._count_known(route, 1) for route in self._all])
        if not current.known:
            return True
        counts = [
            (n, await self._count_known(self._g.routes.route(name), 2 * n + 1)) for name, n in current.missing.items()
        ]
        return all(known > 2 * n for n, known in counts)

    async def _find_reason(self, name: str, missing: MissingObjects) -> Why | None:
        route = self._g.routes.route(name)
        if not missing.same or route.max_deletes.none:
            return find_hold_reason(route.max_deletes, missing, 0)
        at, known = self._counted.get(name, (0.0, -1))
        if self._g.clock.monotonic() >= at + BURST or find_hold_reason(route.max_deletes, missing, known):
            known = await self._count_known(route, max(COUNTED, count_needed(route.max_deletes, missing.count)))
            self._counted[name] = self._g.clock.monotonic(), known
        return find_hold_reason(route.max_deletes, missing, known)

    async def _count_known(self, route: Route, most: int) -> int:
        """Count the objects of this source that the route has copied and not deleted since, up to `most`."""
        since = self._g.clock.monotonic() - BURST
        recent = {key for key, (at, names) in self._sent.items() if at >= since and route.name in names}
        count = len(recent)
        async for placed in self._g.ledger.list_placements(route.store, self._g.bucket):
            if count >= most:
                break
            key = placed.source.key
            mine = placed.source.provider == self._g.provider and placed.is_in(route.identities)
            count += mine and route.takes(key) and key not in recent
        return count

    async def _find_affected(self, deletes: Sequence[ObjectEvent]) -> dict[str, tuple[str, ...]]:
        """Find the deletes whose object has a copy, with its routes. Any other delete has no effect."""
        transfers = [t for event in deletes for t in self._g.routes.match(event)]
        affected: dict[str, tuple[str, ...]] = {}
        for t, copy in zip(transfers, await self._placements(transfers), strict=True):
            if copy is not None and not copy.deleted and copy.is_from(t.source):
                affected[t.source.key] = (*affected.get(t.source.key, ()), t.route)
        return affected

    async def _renew_ids(self, created: Sequence[ObjectEvent]) -> dict[str, ObjectEvent]:
        """Give new ids to events of objects that return unchanged after their delete: the old ids are settled."""
        now = self._g.clock.time()
        transfers = [(t, e) for e in created if e.occurred_at < now - FRESH for t in self._g.routes.match(e)]
        again = {}
        for (t, event), copy in zip(transfers, await self._placements([t for t, _ in transfers]), strict=True):
            if copy is not None and copy.deleted and copy.is_from(t.source) and copy.settled_at > event.occurred_at:
                ident = str(uuid.uuid5(uuid.UUID(event.event_id), copy.transfer_id))
                again[event.event_id] = replace(event, event_id=ident, correlation_id=ident)
        return again

    async def _placements(self, transfers: Sequence[Transfer]) -> list[Placement | None]:
        """Return the placements at the destination keys, in order."""
        placed = await find_placements(self._g.ledger, ((t.store, t.key) for t in transfers))
        copies = [(t, placed[t.store, t.key]) for t in transfers]
        return [copy if copy is not None and copy.is_in(t.identities) else None for t, copy in copies]

    async def _hold(self, affected: Affected, waiting: Mapping[str, Why], at: float, before: int = 0) -> None:
        """Hold these deletes and report their number once, including those held `before` in the same reconciliation."""
        new = before + (await self._remember(affected, waiting, at) if waiting else 0)
        if new:
            why: Why = next(iter(waiting.values()), "limit")
            record = Record(
                "deletes.held", store=self._g.store, count=new, reason=why, message=MESSAGES[why], hint=HINT
            )
            self._g.observer.on(record)

    async def _remember(self, affected: Affected, waiting: Mapping[str, Why], at: float) -> int:
        self._holding = True
        held = [HeldDelete(self._ref(key), self._g.store, affected[key], why, at) for key, why in waiting.items()]
        return await self._g.ledger.hold_deletes(held)

    async def _forget_returned(self, sources: Sequence[ObjectRef]) -> None:
        """Forget the deletes of objects that are at the source."""
        for source in sources:
            self._sent.pop(source.key, None)
        if (
            self._holding
            and sources
            and (count := await self._g.ledger.forget_deletes([held_id(source) for source in sources]))
        ):
            self._g.observer.on(Record("deletes.back", store=self._g.store, count=count))

    async def _forget_ineffective(self) -> None:
        """Forget held deletes that have no effect any more, because the copies or the routes are gone.

        Those of this source under another name, or of renamed routes, get the present names.
        """
        cursor, at, self._holding = "", self._g.clock.time(), False
        while True:
            page = await self._g.ledger.list_held_deletes(HeldFilter(state=None), cursor, PAGE)
            own = [h for h in page.items if h.source == self._ref(h.source.key)]
            events = [ObjectEvent(h.id, Change.DELETED, h.source, at) for h in own]
            affected = await self._find_affected(events)
            if gone := [h.id for h in own if h.state != "approved" and h.source.key not in affected]:
                await self._g.ledger.forget_deletes(gone)
            await self._rename([h for h in own if h.state == "held" and h.source.key in affected], affected)
            self._holding = self._holding or bool(own)
            if not (cursor := page.cursor):
                return

    async def _rename(self, held: Sequence[HeldDelete], affected: Affected) -> None:
        """Give held deletes the present names of their store and routes, by which a person selects them."""
        names = {route.source_store for route in self._all}
        named = {
            h: replace(h, store=h.store if h.store in names else self._g.store, routes=affected[h.source.key])
            for h in held
        }
        if renamed := [new for old, new in named.items() if new != old]:
            await self._g.ledger.forget_deletes([new.id for new in renamed])
            await self._g.ledger.hold_deletes(renamed)

    def _record_sent(self, affected: Affected) -> None:
        now = self._g.clock.monotonic()
        self._sent |= {key: (now, names) for key, names in affected.items()}
        while len(self._sent) > SENT:
            del self._sent[next(iter(self._sent))]

    def _ref(self, key: str) -> ObjectRef:
        return ObjectRef(self._g.provider, self._g.bucket, key)


def _count_by_route(affected: Affected) -> Counter[str]:
    """Count the objects by route."""
    return Counter(name for names in affected.values() for name in names)


def _first_reason(why: Mapping[str, Why | None], names: Iterable[str]) -> Why | None:
    """Return the first reason of one of these routes."""
    return next((found for name in names if (found := why.get(name))), None)
