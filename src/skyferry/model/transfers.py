"""Events, transfers, and the records that the ledger keeps of them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from enum import StrEnum
from types import MappingProxyType

from skyferry.frozen import dataclass
from skyferry.model.objects import NO_CHECKSUMS, Checksums, ObjectRef, Part, Position, Upload


class Priority(StrEnum):
    """Urgency of an event. High overtakes, low yields; neither waits for ever."""

    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"


# Seconds by which a message counts as older than it is. So a high one overtakes the messages sent in the hour before it, a
# low one yields to those sent in the hour after it, and none waits for ever.
HEAD_START: Mapping[Priority, float] = MappingProxyType(
    {Priority.HIGH: 3600.0, Priority.NORMAL: 0.0, Priority.LOW: -3600.0}
)


class Change(StrEnum):
    """The kind of change that an event reports."""

    CREATED = "created"
    DELETED = "deleted"


@dataclass(frozen=True, slots=True)
class ObjectEvent:
    """A notification about one object: a hint to look at its key."""

    event_id: str
    change: Change
    source: ObjectRef
    occurred_at: float  # seconds since 1970
    correlation_id: str = ""
    position: Position | None = None
    destination: ObjectRef | None = None  # only in native events; otherwise the routes decide
    size: int | None = None  # bytes, as declared
    checksums: Checksums = NO_CHECKSUMS  # as declared by the event
    content_type: str = ""
    max_retries: int | None = None  # 0 to 10; None = the configured default
    priority: Priority | None = None  # None = the route's
    traceparent: str = ""  # W3C trace context
    overwritten: bool = False  # a delete that is part of an overwrite (Cloud Storage): never propagated
    expired: bool = False  # a delete by lifecycle
    format: str = "native"  # or s3, eventbridge, r2, b2, tigris, gcs, eventarc, azure, cloudevents
    created_at: float | None = None  # creation of the object's version, seconds since 1970; None = unknown
    sent_key: str = ""  # the key as a notification of S3 has it, if decoding it gives another key
    absent: bool = False  # a listing of the destination lacked `destination`; no message from outside says so
    key_proven: bool = True  # False: the key may be `sent_key`, for some services do not encode keys


@dataclass(frozen=True, slots=True)
class Transfer:
    """One source object version going to one destination key under one route."""

    id: str  # 32 hexadecimal digits, see `transfer_id`
    route: str
    change: Change
    source: ObjectRef
    source_store: str  # name of the store
    store: str  # name of the destination store
    key: str  # destination key
    event_id: str
    correlation_id: str
    occurred_at: float
    position: Position | None = None  # the event's
    size: int | None = None
    checksums: Checksums = NO_CHECKSUMS
    content_type: str = ""
    max_retries: int = 3
    priority: Priority = Priority.NORMAL
    traceparent: str = ""
    asked: bool = False  # requested by a person: look at the destination itself. Not kept in the ledger
    identities: tuple[str, ...] = ()  # of the destination store in placements; () = any. Not kept in the ledger
    absent: bool = False  # see `ObjectEvent.absent`. Not kept in the ledger
    otherwise: tuple[
        Transfer, ...
    ] = ()  # those due if the source has no such object, see `ObjectEvent.key_proven`. Not kept


def transfer_id(route: str, event: ObjectEvent, store: str, key: str) -> str:
    """Return the id of a transfer: BLAKE2b-128 over route (with `Route.limits`), change, source, version and destination.

    The same work always has the same id. The version is the event's exact position, or else its version id, or else the
    event's id. The version id of a delete is not used, because S3 names the same delete marker when it is created and when it
    is removed. The id of a native event is included, because its sender may claim the position of a future event.
    """
    src = event.source
    named = src.version if event.change is Change.CREATED else ""
    version = event.position.id_text if event.position and event.position.exact else named or event.event_id
    if event.position and event.position.exact and event.format == "native":
        version = f"{version} {event.event_id}"
    parts = (route, event.change, src.provider, src.bucket, src.key, version, store, key)
    return hashlib.blake2b("\0".join(parts).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


@dataclass(frozen=True, slots=True)
class Placement:
    """The source version that a destination key has according to the ledger, or its tombstone."""

    store: str
    key: str
    source: ObjectRef  # with the applied version
    deleted: bool  # a tombstone
    positions: tuple[Position, ...]  # the newest observed at the source, one per scheme
    occurred_at: float  # last modification of the applied version by its store's clock, capped at when it was observed
    version: str  # of the destination object; "" when deleted
    transfer_id: str
    settled_at: float
    identity: str = ""  # of the destination store, see `Whereabouts.identity`; "" if written by an older version
    carried: str = ""  # digest of the source's attributes; "" if written by an older version

    @property
    def changed_at(self) -> float:
        """The time of the applied change, capped at its settlement if the source's clock is ahead."""
        return min(self.occurred_at, self.settled_at)

    def has_passed(self, position: Position | None, change: Change = Change.CREATED) -> bool:
        """Return True if the change at this exact position, or a newer one, was applied.

        Cloud Storage gives a delete the generation of the deleted object, so a live object at that position is still older.
        """
        if position is None or not position.exact:
            return False
        pending = change is Change.DELETED and not self.deleted
        return any(
            p.scheme == position.scheme and (p.value > position.value if pending else p.value >= position.value)
            for p in self.positions
        )

    def is_in(self, identities: tuple[str, ...]) -> bool:
        """Return True if one of the identities is the placement's, or if no identities are given."""
        return not identities or self.identity in identities

    def is_from(self, source: ObjectRef, key: str = "") -> bool:
        """Return True if it came from this source key, or from `key` in the same bucket.

        Positions of different keys do not compare.
        """
        mine = self.source
        same = mine.key == (key or source.key) and mine.bucket == source.bucket and mine.provider == source.provider
        return same and (mine.account == source.account or not (mine.account and source.account))

    def with_positions(self, positions: tuple[Position, ...]) -> Placement:
        """Return the placement with these positions merged in."""
        return replace(self, positions=newest_positions(self.positions, positions))


def newest_positions(*groups: tuple[Position, ...]) -> tuple[Position, ...]:
    """Return the newest position of each scheme."""
    best: dict[str, Position] = {}
    for position in (p for group in groups for p in group):
        known = best.get(position.scheme)
        if known is None or position.value > known.value:
            best[position.scheme] = position
    return tuple(best.values())


@dataclass(frozen=True, slots=True)
class Receipt:
    """The proof of one finished transfer."""

    source_version: str
    destination_version: str
    size: int  # bytes
    computed: Checksums  # over the copied bytes
    declared: Checksums  # by the source store and the event
    attested: Checksums  # by the destination store
    position: Position | None
    started_at: float
    finished_at: float
    attempt: int
    changes: tuple[str, ...] = ()  # to attributes that the destination could not store as they were
    in_place: bool = False  # only what the object carries was changed: it had the bytes already


class State(StrEnum):
    """State of a transfer. The last four are settled."""

    CLAIMED = "claimed"  # a worker has a lease on it
    RETRY = "retry"  # waits for its next attempt
    DONE = "done"
    SKIPPED = "skipped"  # with a reason
    DEAD = "dead"  # a dead letter
    DISCARDED = "discarded"  # a dead letter that was discarded

    @property
    def settled(self) -> bool:
        """True if messages about this transfer may be acknowledged."""
        return self not in (State.CLAIMED, State.RETRY)


@dataclass(frozen=True, slots=True)
class Progress:
    """The ledger's record of an unfinished upload. A hint: the store decides which parts exist."""

    store: str  # the destination's name
    upload: Upload
    source: ObjectRef  # with the version of every part
    parts: tuple[Part, ...] = ()  # in the order of their numbers
    age: float = 0.0  # seconds since it was last saved, when the ledger was read


@dataclass(frozen=True, slots=True)
class Claim:
    """The ledger's permission to work on a transfer: a lease on its destination key, with a fence number."""

    transfer: Transfer
    fence: int
    attempt: int  # 1 = the first
    lost: int  # number of workers that died or lost their lease during this transfer
    placement: Placement | None
    uploads: tuple[Progress, ...] = ()  # unfinished uploads to the same key, the latest last
    taken_over: bool = False  # it ended the lease of another owner, which had not freed the key


@dataclass(frozen=True, slots=True)
class Failure:
    """One failed attempt in the history of a transfer."""

    attempt: int
    at: float  # seconds since 1970
    kind: str  # SkyferryError.kind
    message: str
    counts_as_attempt: bool  # False for an outage
