"""Send one event for each object of a listing that is not yet at the destination."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from skyferry.errors import ConfigError, InvalidKey, ObjectNotFound, SkyferryError
from skyferry.events.fields import validate_key
from skyferry.model import Change, ObjectEvent, ObjectMeta, ObjectRef, Placement, Position
from skyferry.ports import Clock, EventQueue, ObjectStore, Outgoing, Placements

PAGE = 200  # objects per query of the ledger
WAITING = 2000  # the listing waits while the queue has more ready messages
LOOKS = 16  # concurrent requests for objects of the destination
PAUSE = 0.05  # seconds between checks of the queue's depth


@dataclass(frozen=True, slots=True)
class Ends:
    """The source and the destination of a copy."""

    source: ObjectRef  # its key: an object, a prefix that ends with /, or "" for all
    destination: ObjectRef  # its key: likewise; the name of a single object is appended to a prefix
    one_store: bool = False  # both are in the same bucket

    def below(self, prefix: str, key: str) -> ObjectRef:
        """Return the destination of an object below the source's prefix."""
        start = self.destination.key
        return replace(
            self.destination, key=f"{start}{'/' if start and not start.endswith('/') else ''}{key[len(prefix) :]}"
        )

    def single(self) -> ObjectRef:
        """Return the destination of the single object."""
        to = self.destination.key
        return replace(self.destination, key=to + self.source.key.rpartition("/")[2] if not to or to[-1] == "/" else to)


@dataclass(slots=True)
class Found:
    """The progress of the listing."""

    objects: int = 0
    bytes: int = 0
    present: int = 0  # of these, already at the destination, according to the ledger and a listing of the destination
    present_bytes: int = 0
    whole: bool = False  # the listing is complete


@dataclass(frozen=True, slots=True)
class CopyPorts:
    """The ports of a copy: both stores, the ledger of earlier copies, and the queue."""

    source: ObjectStore
    destination: ObjectStore
    ledger: Placements
    queue: EventQueue
    clock: Clock
    encode: Callable[[ObjectEvent], bytes]
    doubt: Callable[[str], object] = lambda key: None  # gets each key whose object differs from the ledger
    refuse: Callable[[str, InvalidKey], object] = lambda key, error: None  # gets each object whose new key is invalid


class ListingSource:
    """Send an event for each object, no faster than objects are copied. `found` has the progress."""

    def __init__(self, ends: Ends, ports: CopyPorts, found: Found | None = None) -> None:
        self.found = found or Found()
        self._ends, self._ports = ends, ports
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
            await self._ports.destination.head(self._ends.destination.key.rstrip("/") or "skyferry")
        key = self._ends.source.key
        if key and not key.endswith("/"):
            try:
                meta = await self._ports.source.head(key)
            except ObjectNotFound:
                key += "/"
            else:
                await self._send(
                    [(meta, self._ends.single())], _Holds(self._ports.destination, self._ends.single().key)
                )
                self.found.whole = True
                return
        await self._list(key)
        if key and not self.found.objects:
            raise ObjectNotFound("nothing is there, neither an object nor any below it", where=self._ends.source.key)
        self.found.whole = True

    async def _list(self, prefix: str) -> None:
        to = self._ends.below(prefix, prefix).key
        if self._ends.one_store and to.startswith(prefix):  # the listing would find its own copies, endlessly
            raise ConfigError("the destination lies within the source", where=self._ends.destination.key)
        holds = _Holds(self._ports.destination, to)
        page: list[tuple[ObjectMeta, ObjectRef]] = []
        async for meta in self._ports.source.list(prefix):
            page.append((meta, self._ends.below(prefix, meta.key)))
            if len(page) >= PAGE:
                await self._send(page, holds)
                page = []
        await self._send(page, holds)

    async def _send(self, page: list[tuple[ObjectMeta, ObjectRef]], holds: _Holds) -> None:
        placed = await self._ports.ledger.get_placements(self._ports.destination.name, [to.key for _, to in page])
        known = {to.key for (meta, to), at in zip(page, placed, strict=True) if at is not None and self._from(at, meta)}
        sizes = await holds.sizes([to.key for _, to in page if to.key in known])
        messages = []
        for meta, to in page:
            self.found.objects += 1
            self.found.bytes += meta.size
            if to.key in known:
                if sizes[to.key] == meta.size:
                    self.found.present += 1
                    self.found.present_bytes += meta.size
                    continue
                self._ports.doubt(to.key)
            try:
                validate_key(to.key, f"the key that it would have, {to.key[:40]}…")
            except InvalidKey as error:
                self._ports.refuse(meta.key, error)
            else:
                messages.append(Outgoing(self._ports.encode(self._event(meta, to))))
        await self._room()
        await self._ports.queue.send(messages)

    def _event(self, meta: ObjectMeta, to: ObjectRef) -> ObjectEvent:
        """Create an event with a new id: the objects, not earlier events, decide if there is work."""
        event_id = str(uuid.uuid4())
        return ObjectEvent(
            event_id=event_id,
            correlation_id=event_id,
            change=Change.CREATED,
            source=replace(self._ends.source, key=meta.key),
            destination=to,
            occurred_at=self._ports.clock.time(),
            size=meta.size,
        )

    def _from(self, known: Placement, meta: ObjectMeta) -> bool:
        return _from(known, replace(self._ends.source, key=meta.key), meta)

    async def _room(self) -> None:
        while (await self._ports.queue.depth()).ready > WAITING:
            await self._ports.clock.sleep(PAUSE)


def _from(known: Placement, source: ObjectRef, meta: ObjectMeta) -> bool:
    """Check that the ledger has a copy of this version, not written since, also with the same bytes.

    S3's listings have the ETag of a version, but not its id.
    """
    version = known.source.version
    same = version == meta.version or (meta.version.startswith('"') and meta.version in version)
    return not known.deleted and known.is_from(source) and same and not _was_written_since(known, meta.position)


def _was_written_since(known: Placement, now: Position | None) -> bool:
    """Compare positions. A listing may give the time that a read gave in whole seconds with a fraction."""
    for seen in known.positions if now else ():
        if now and seen.scheme == now.scheme and seen.value < now.value:
            whole = not now.exact and seen.value.endswith("0" * 9)
            return not whole or seen.value[:-9] < now.value[:-9]
    return False


@dataclass(slots=True)
class _Holds:
    """A listing of the destination, read in parallel with that of the source, and only on demand.

    Objects that it does not show at their place are requested one by one: a listing need not be in byte order.
    """

    store: ObjectStore
    prefix: str
    _rest: AsyncIterator[ObjectMeta] | None = field(default=None, init=False)
    _at: ObjectMeta | None = field(default=None, init=False)

    async def sizes(self, keys: Sequence[str]) -> dict[str, int | None]:
        """Return the sizes of the objects at these keys, or None. Keys in ascending order need few requests."""
        found = {key: await self._listed(key) for key in keys}
        gate = asyncio.Semaphore(LOOKS)

        async def look(key: str) -> None:
            async with gate:
                with suppress(ObjectNotFound):
                    found[key] = (await self.store.head(key)).size

        try:
            async with asyncio.TaskGroup() as tasks:
                for key in (key for key, size in found.items() if size is None):
                    tasks.create_task(look(key), name=f"look for {key}")
        except* SkyferryError as failed:
            raise failed.exceptions[0] from failed
        return found

    async def _listed(self, key: str) -> int | None:
        if self._rest is None:
            self._rest = aiter(self.store.list(self.prefix))
            self._at = await anext(self._rest, None)
        while self._at is not None and self._at.key < key:
            self._at = await anext(self._rest, None)
        return self._at.size if self._at is not None and self._at.key == key else None
