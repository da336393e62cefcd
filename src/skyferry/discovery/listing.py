"""Send one event for each object of a listing that is not yet at the destination."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Sequence
from contextlib import suppress
from operator import lt

from skyferry.discovery.selection import CopySelection, Wildcard, compare
from skyferry.errors import ConfigError, InvalidKey, ObjectNotFound, SkyferryError
from skyferry.events.fields import validate_key
from skyferry.frozen import dataclass
from skyferry.model import Change, ObjectEvent, ObjectMeta, ObjectRef
from skyferry.ports import Clock, EventQueue, ObjectStore, Outgoing, Placements
from skyferry.ports.joins import OrderedListing, close_iterator, map_keys, paginate

ListedObject = tuple[ObjectMeta, str]  # an object of the source, and the key of its destination
PAGE = 512  # objects per query of the ledger, which reads rows by powers of two
WAITING = 2000  # the listing waits while the queue has more ready messages
FEW = 8  # keys that are requested one by one rather than listed
SMALL = 1000  # objects: fewer are listed by one request
PAUSE = 0.05  # seconds between checks of the queue's depth
PROBE = "skyferry"  # the key that is looked up to try a destination that is a whole store


@dataclass(frozen=True, slots=True)
class CopyEnds:
    """The source and the destination of a copy."""

    source: ObjectRef  # its key: an object, a prefix that ends with /, or "" for all
    destination: ObjectRef  # its key: likewise; the name of a single object is appended to a prefix
    one_store: bool = False  # both are in the same bucket

    @property
    def start(self) -> str:
        """The beginning of the keys of all destinations, in place of the prefix of the source."""
        start = self.destination.key
        return f"{start}{'/' if start and not start.endswith('/') else ''}"

    def single(self) -> str:
        """Return the key of the single object's destination."""
        to = self.destination.key
        name = self.source.key.rpartition("/")[2]
        return to + name if not to or to[-1] == "/" else to


def _at_key(ref: ObjectRef, key: str) -> ObjectRef:
    """Return the object with this key in the same bucket. `replace` takes ten times as long, twice per copy."""
    return ObjectRef(ref.provider, ref.bucket, key, ref.region, ref.version, ref.account, ref.endpoint)


def _make_event_ids() -> Iterator[str]:
    """Yield UUIDs of version 8 (RFC 9562): random bits, drawn once, and a count. Drawing bits for each costs a system call."""
    drawn = str(uuid.uuid4())
    begin = f"{drawn[:14]}8{drawn[15:24]}"
    return (f"{begin}{number:012x}" for number in itertools.count())


@dataclass(slots=True)
class ListingProgress:
    """The progress of the listing."""

    objects: int = 0  # selected
    bytes: int = 0
    excluded: int = 0  # by filters
    kept: int = 0  # of the selected, not copied because of what is at the destination
    present: int = 0  # of these, already at the destination, according to the ledger and a listing of the destination
    present_bytes: int = 0
    whole: bool = False  # the listing is complete
    prefix: str = ""  # of the source, once it is known not to be a single object


@dataclass(frozen=True, slots=True)
class PlannedCopy:
    """An object to copy."""

    ref: ObjectRef
    source: ObjectMeta
    to: ObjectRef
    there: ObjectMeta | None  # the object to replace, if it was looked for
    known: bool = False  # the ledger has a copy of this version
    absent: bool = False  # the destination was listed, and had no object there


async def _differs(copy: PlannedCopy) -> bool:
    """Count the contents as different."""
    return False


@dataclass(frozen=True, slots=True)
class CopyPorts:
    """The ports of a copy: both stores, the ledger of earlier copies, and the queue."""

    source: ObjectStore
    destination: ObjectStore
    ledger: Placements
    queue: EventQueue  # in memory: it takes events as they are
    clock: Clock
    doubt: Callable[[str], str] = lambda event_id: event_id  # marks the event of an object that differs from the ledger
    refuse: Callable[[str, SkyferryError], object] = lambda key, error: None  # gets each object that cannot be copied
    same: Callable[[PlannedCopy], Awaitable[bool]] = _differs  # compares contents
    preview: Callable[[Sequence[PlannedCopy]], Awaitable[None]] | None = None  # gets the copies, in place of the queue


class ListingSource:
    """Send an event for each object, no faster than objects are copied. `found` has the progress."""

    def __init__(
        self,
        ends: CopyEnds,
        ports: CopyPorts,
        found: ListingProgress | None = None,
        selection: CopySelection | None = None,
    ) -> None:
        self.found, self._selection = found or ListingProgress(), selection or CopySelection()
        self._ends, self._ports, self._event_ids = ends, ports, _make_event_ids()
        self.failure: SkyferryError | None = None  # errors end the listing

    @property
    def idle(self) -> bool:
        """True once all events are sent."""
        return self.found.whole

    async def run(self) -> None:
        """Send events to the end of the listing.

        Raises StoreError, at once if the destination is unreachable; ConfigError if the destination is inside the source.
        """
        with suppress(ObjectNotFound):
            await self._ports.destination.head(self._ends.destination.key.rstrip("/") or PROBE)
        key, wildcard = self._ends.source.key, self._selection.wildcard
        if key and not key.endswith("/") and self._selection.keys is None:
            try:
                meta = await self._ports.source.head(key)
            except ObjectNotFound:
                key += "/"
            else:
                await self._send_single(meta)
                return
        self.found.prefix = wildcard.prefix if wildcard else key
        await self._list(self.found.prefix, wildcard)
        if not (self.found.objects or self.found.excluded) and (wildcard or (key and self._selection.keys is None)):
            if wildcard:
                raise ObjectNotFound(
                    "no key matches the wildcard", where=wildcard.text, hint="`skyferry ls` shows the keys"
                )
            hint = "correct the key: `skyferry ls` shows what there is"
            message = "nothing is there, neither an object nor any below it"
            raise ObjectNotFound(message, where="source", hint=hint)
        self.found.whole = True

    async def _send_single(self, meta: ObjectMeta) -> None:
        if self._selection.prefix_only:
            hint = "remove --delete, or end the source with /"
            raise ConfigError("the source is a single object: it says nothing of others", where="source", hint=hint)
        name, to = meta.key.rpartition("/")[2], self._ends.single()
        holds = _DestinationListing(self._ports.destination, to)
        try:
            if self._selection.takes(name):
                await self._send([(meta, to)], holds)
            else:
                self.found.excluded += 1
        finally:
            await holds.close()
        self.found.whole = True

    async def _list(self, prefix: str, wildcard: Wildcard | None) -> None:
        to = self._ends.start
        if self._ends.one_store and to.startswith(prefix):  # the listing would find its own copies, endlessly
            hint = "choose another destination"
            raise ConfigError("the destination is inside the source", where="destination", hint=hint)
        holds = _DestinationListing(self._ports.destination, to)
        try:
            async for metas in self._pages(prefix):
                await self._send(self._select(metas, prefix, to, wildcard), holds)
        finally:
            await holds.close()

    def _select(
        self, metas: Sequence[ObjectMeta], prefix: str, start: str, wildcard: Wildcard | None
    ) -> list[ListedObject]:
        takes, length, selected = self._selection.takes, len(prefix), list[ListedObject]()
        for meta in metas:
            relative = meta.key[length:]
            if wildcard and not wildcard.takes(relative):
                continue
            to = start + relative
            if not to and meta.is_folder_marker:  # that of the prefix itself: the destination exists
                self.found.objects += 1
                self.found.present += 1
            elif takes(relative):
                selected.append((meta, to))
            else:
                self.found.excluded += 1
        return selected

    async def _pages(self, prefix: str) -> AsyncIterator[list[ObjectMeta]]:
        if self._selection.keys is not None:
            async for keys in self._selection.keys():
                yield await self._look_up([prefix + key for key in keys])
            return
        async for page in paginate(self._ports.source.list(prefix), PAGE):
            yield page

    async def _look_up(self, keys: Sequence[str]) -> list[ObjectMeta]:
        """Return the objects with these keys. Keys without an object are refused."""
        found = await _find_objects(self._ports.source, keys, self._ports.refuse)
        return [found[key] for key in dict.fromkeys(keys) if key in found]

    async def _send(self, page: Sequence[ListedObject], holds: _DestinationListing) -> None:
        copies = await self._choose(page, holds) if page else []
        if copies and self._ports.preview is not None:
            await self._ports.preview(copies)
        elif copies:
            messages = [Outgoing(b"", event=self._event(copy)) for copy in copies]
            await self._room()
            await self._ports.queue.send(messages)

    async def _choose(self, page: Sequence[ListedObject], holds: _DestinationListing) -> list[PlannedCopy]:
        """Return the copies to make of a page of objects, and count the others."""
        comparison, found, source = self._selection.comparison, self.found, self._ends.source
        keys = [to for _, to in page]
        known = await self._ports.ledger.find_current(self._ports.destination.name, source, page)
        everything = comparison != "ledger" or self._ports.preview is not None
        there = await holds.find(keys if everything else [key for key in keys if key in known], known)
        absent = await self._find_absent(holds, keys)
        copies, unsure = list[PlannedCopy](), list[PlannedCopy]()
        found.objects += len(page)
        for meta, to in page:
            found.bytes += meta.size
            verdict = compare(comparison, meta, there.get(to), to in known)
            if verdict == "present":
                found.present += 1
                found.present_bytes += meta.size
            elif verdict == "kept":
                found.kept += 1
            else:
                copy = self._plan(meta, to, there.get(to), known=to in known, absent=to in absent)
                (unsure if verdict == "read" else copies).append(copy)
        pending = {copy.to.key: copy for copy in unsure}
        same = await map_keys(pending, lambda key: self._ports.same(pending[key]))
        for copy, equal in zip(pending.values(), same, strict=True):
            self._count_present(copy.source) if equal else copies.append(copy)
        return [copy for copy in copies if self._is_valid(copy)]

    def _plan(self, meta: ObjectMeta, to: str, there: ObjectMeta | None, *, known: bool, absent: bool) -> PlannedCopy:
        source, destination = self._ends.source, self._ends.destination
        return PlannedCopy(_at_key(source, meta.key), meta, _at_key(destination, to), there, known, absent)

    async def _find_absent(self, holds: _DestinationListing, keys: Sequence[str]) -> Collection[str]:
        """Return the keys that are known to have no object, where this saves requests.

        A store whose writes have no preconditions is asked for each key before it is written.
        """
        if self._ports.destination.traits.create_only or len(keys) < FEW or self._ports.preview is not None:
            return ()
        known = await holds.find_all()
        return () if known is None else frozenset(keys) - known

    def _count_present(self, meta: ObjectMeta) -> None:
        self.found.present += 1
        self.found.present_bytes += meta.size

    def _is_valid(self, copy: PlannedCopy) -> bool:
        try:
            validate_key(copy.source.key, "the key")
            validate_key(copy.to.key, f"the key that it would have, {copy.to.key[:40]}…")
        except InvalidKey as error:
            self._ports.refuse(copy.source.key, error)
            return False
        return True

    def _event(self, copy: PlannedCopy) -> ObjectEvent:
        """Create an event with a new id: the objects, not earlier events, decide if there is work."""
        event_id = next(self._event_ids)
        return ObjectEvent(
            event_id=self._ports.doubt(event_id) if copy.known else event_id,
            correlation_id=event_id,
            change=Change.CREATED,
            source=copy.ref,
            destination=copy.to,
            occurred_at=self._ports.clock.time(),
            size=copy.source.size,
            absent=copy.absent,
        )

    async def _room(self) -> None:
        while (await self._ports.queue.depth()).ready > WAITING:
            await self._ports.clock.sleep(PAUSE)


class _DestinationListing:
    """A listing of the destination, read in parallel with that of the source, and only on demand.

    Objects that it does not show at their place are requested one by one: a listing need not be in byte order.
    """

    def __init__(self, store: ObjectStore, prefix: str) -> None:
        self._store, self._prefix, self._listing = store, prefix, OrderedListing(store.list(prefix))
        self._last = ""  # key that was looked for
        self._listed = False  # `_all` is known
        self._all: frozenset[str] | None = None

    async def find(self, keys: Sequence[str], expected: Collection[str]) -> dict[str, ObjectMeta]:
        """Return the objects at these keys. Keys in ascending order need few requests.

        A key that an ordered listing lacks is requested only if its object is expected.
        """
        ascending = self._store.traits.order == "bytes" and all(map(lt, (self._last, *keys), keys))
        self._last = keys[-1] if keys else self._last
        found = await self._listing.find_all(keys)
        if len(found) == len(keys):
            return found
        missing = [key for key in dict.fromkeys(keys) if key not in found and (not ascending or key in expected)]
        return found | await _find_objects(self._store, missing) if missing else found

    async def find_all(self) -> frozenset[str] | None:
        """Return the keys that the destination had at the first call; None if they fill a page of the listing."""
        if not self._listed:
            self._listed, keys = True, set[str]()
            listing = self._store.list(self._prefix)
            try:
                async for meta in listing:
                    keys.add(meta.key)
                    if len(keys) == SMALL:
                        break
            finally:
                await close_iterator(listing)
            self._all = frozenset(keys) if len(keys) < SMALL else None
        return self._all

    async def close(self) -> None:
        """End the listing."""
        await self._listing.close()


async def _find_objects(
    store: ObjectStore, keys: Sequence[str], refuse: Callable[[str, SkyferryError], object] = lambda key, error: None
) -> dict[str, ObjectMeta]:
    """Look at each key, and return the objects. `refuse` gets keys without an object, and those that the store rejects."""
    found = dict[str, ObjectMeta]()

    async def look(key: str) -> None:
        try:
            found[key] = await store.head(key)
        except ObjectNotFound:
            hint = "name keys as `skyferry ls` shows them: below the source, without ./"
            refuse(key, ObjectNotFound("there is no such object", hint=hint))
        except InvalidKey as error:
            refuse(key, error)

    await map_keys(keys, look)
    return found
