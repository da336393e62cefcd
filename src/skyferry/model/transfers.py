"""Events, transfers, and what the ledger remembers of them."""

from __future__ import annotations

import hashlib
from dataclasses import field, replace
from enum import StrEnum

from skyferry.frozen import dataclass
from skyferry.model.objects import Checksums, ObjectRef, Part, Position, Upload


class Priority(StrEnum):
    """How urgent an event is. A high one overtakes, a low one yields; neither waits for ever."""

    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"


class Change(StrEnum):
    """What happened to the object."""

    CREATED = "created"
    DELETED = "deleted"


@dataclass(frozen=True, slots=True)
class ObjectEvent:
    """What a cloud said about one object: a hint to look at its key."""

    event_id: str
    change: Change
    source: ObjectRef
    occurred_at: float  # seconds since 1970
    correlation_id: str = ""
    position: Position | None = None
    destination: ObjectRef | None = None  # only a native event names one; otherwise the routes decide
    size: int | None = None  # bytes, as declared
    checksums: Checksums = field(default_factory=Checksums)  # as declared by the event
    content_type: str = ""
    max_retries: int | None = None  # 0 to 10; None = the configured default
    priority: Priority | None = None  # None = the route's
    traceparent: str = ""  # W3C trace context
    overwritten: bool = False  # a delete that is only half of an overwrite (Cloud Storage): never propagated
    expired: bool = False  # a delete by lifecycle
    format: str = "native"  # which parser read it: native, s3, eventbridge, gcs, azure, cloudevents
    created_at: float | None = None  # when the object's version was, where the event tells it: seconds since 1970


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
    checksums: Checksums = field(default_factory=Checksums)
    content_type: str = ""
    max_retries: int = 3
    priority: Priority = Priority.NORMAL
    traceparent: str = ""
    asked: bool = False  # by a person, who wants the destination itself looked at; not kept in the ledger
    identities: tuple[str, ...] = ()  # by which placements know the destination store; () = any. Not kept either


def transfer_id(route: str, event: ObjectEvent, store: str, key: str) -> str:
    """The same work always has the same id: BLAKE2b-128 over route, change, source, version and destination.

    The version is the event's exact position where it has one, else its version id, else the event's own id. A delete's version id
    does not do: S3 names a delete marker when it is set, and again when it is taken away. A native event is known by its id as
    well: its sender may claim the position of an event that is still to come.
    """
    src = event.source
    named = src.version if event.change is Change.CREATED else ""
    version = event.position.named if event.position and event.position.exact else named or event.event_id
    if event.position and event.position.exact and event.format == "native":
        version = f"{version} {event.event_id}"
    parts = (route, event.change, src.provider, src.bucket, src.key, version, store, key)
    return hashlib.blake2b("\0".join(parts).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


@dataclass(frozen=True, slots=True)
class Placement:
    """What the ledger knows of one destination key: which source version it holds, or that it was deleted."""

    store: str
    key: str
    source: ObjectRef  # with the version that was applied
    deleted: bool  # a tombstone
    positions: tuple[Position, ...]  # the newest that a look at the source has shown, one per scheme
    occurred_at: float  # when the version applied was last modified, as its store says, but never after it was seen
    version: str  # of the destination object, as its store gave it; "" when deleted
    transfer_id: str
    settled_at: float
    identity: str = ""  # of the destination store, see `Whereabouts.identity`; "" in a ledger older than that

    @property
    def since(self) -> float:
        """When what it holds came into being: no later than it was settled, whatever its source says."""
        return min(self.occurred_at, self.settled_at)

    def passed(self, position: Position | None, change: Change = Change.CREATED) -> bool:
        """Whether a change at this exact position has been applied already, itself or by a newer one.

        Cloud Storage gives a delete the generation of what it deletes: a live object at that position has not seen it.
        """
        if position is None or not position.exact:
            return False
        pending = change is Change.DELETED and not self.deleted
        return any(
            p.scheme == position.scheme and (p.value > position.value if pending else p.value >= position.value)
            for p in self.positions
        )

    def lies_in(self, identities: tuple[str, ...]) -> bool:
        """Whether it is in the store that these name, or was when the ledger kept no identities."""
        return not identities or self.identity in identities

    def about(self, source: ObjectRef) -> bool:
        """Whether it came from this source key; positions of other keys do not compare."""
        mine = self.source
        same = (mine.provider, mine.bucket, mine.key) == (source.provider, source.bucket, source.key)
        return same and (mine.account == source.account or not (mine.account and source.account))

    def advance(self, positions: tuple[Position, ...]) -> Placement:
        """The same placement, having seen these positions too."""
        return replace(self, positions=newest(self.positions, positions))


def newest(*groups: tuple[Position, ...]) -> tuple[Position, ...]:
    """The newest position per scheme."""
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
    computed: Checksums  # over the bytes that passed
    declared: Checksums  # by the source store and the event
    attested: Checksums  # by the destination store
    position: Position | None
    started_at: float
    finished_at: float
    attempt: int


class State(StrEnum):
    """Where a transfer stands. The last four are settled."""

    CLAIMED = "claimed"  # a worker holds it
    RETRY = "retry"  # waits for its next attempt
    DONE = "done"
    SKIPPED = "skipped"  # with a reason
    DEAD = "dead"  # in the dead letters
    DISCARDED = "discarded"  # was a dead letter, somebody discarded it

    @property
    def settled(self) -> bool:
        """Whether a message about this transfer may be acked."""
        return self not in (State.CLAIMED, State.RETRY)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an upload has come, as the ledger keeps it. A hint: the store knows what it has."""

    store: str  # the destination's name
    upload: Upload
    source: ObjectRef  # with the version that every part was read from
    parts: tuple[Part, ...] = ()  # in the order of their numbers
    saved_at: float = 0.0  # seconds since 1970, by the ledger's clock


@dataclass(frozen=True, slots=True)
class Claim:
    """The ledger's permission to work on a transfer: a lease on its destination key, with a fence number."""

    transfer: Transfer
    fence: int
    attempt: int  # 1 = the first
    lost: int  # how often a worker died or lost its lease holding this transfer
    placement: Placement | None
    lease_until: float  # seconds since 1970
    uploads: tuple[Progress, ...] = ()  # to the same key that nobody has closed, the latest last


@dataclass(frozen=True, slots=True)
class Failure:
    """One failed attempt, as the story of a transfer keeps it."""

    attempt: int
    at: float  # seconds since 1970
    kind: str  # SkyferryError.kind
    message: str
    burned: bool  # False = an outage, which is not an attempt
