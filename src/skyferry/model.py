"""The nouns of Skyferry, frozen. `docs/concepts/glossary.md` explains the words."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import field, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Literal

from skyferry.frozen import dataclass

EMPTY: Mapping[str, str] = MappingProxyType({})
_PAD = "0" * 14  # what a sequencer of 18 digits lacks


class Provider(StrEnum):
    """Who keeps a bucket; the values are those of the native event."""

    AWS_S3 = "aws_s3"
    GCP_GCS = "gcp_gcs"
    AZURE_BLOB = "azure_blob"
    S3_COMPATIBLE = "s3_compatible"
    FILE = "file"
    MEMORY = "memory"


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
class Position:
    """Where an event or a version stands among those of the same key.

    `value` is normalised by the parser so that plain string comparison orders it (S3 sequencers, Cloud Storage generation and
    metageneration left-padded with zeros to one length).
    """

    scheme: str  # "s3-sequencer", "gcs-generation", "azure-sequencer", "time" (nanoseconds since 1970, 20 digits)
    value: str
    told: str = field(default="", compare=False, repr=False)  # the form that transfer ids are made of, if another

    @property
    def exact(self) -> bool:
        """Whether the provider promises the order. A clock does not: it may be coarse or step back."""
        return self.scheme != "time"

    def __str__(self) -> str:
        return f"{self.scheme}:{self.value}"

    @property
    def named(self) -> str:
        """As it stands in transfer ids, which never change."""
        return f"{self.scheme}:{self.told or self.value}"

    @classmethod
    def sequencer(cls, digits: str) -> Position:
        """Of S3: a hexadecimal number of any length. Those of 16 and 18 digits are one time, the longer with a zero byte ahead."""
        value = digits.upper()
        return cls("s3-sequencer", value.lstrip("0").rjust(32, "0"), value.ljust(32, "0"))

    @classmethod
    def parse(cls, text: str) -> Position:
        """The inverse of `str()`. A sequencer that was once kept padded on its right is read for the number that it was."""
        scheme, _, value = text.partition(":")
        if scheme == "s3-sequencer" and len(value) == 32 and value.endswith(_PAD) and not value.startswith(_PAD):
            return cls.sequencer(value[:18] if value.startswith("00") else value[:16])
        return cls(scheme, value)

    @classmethod
    def at(cls, nanoseconds: int) -> Position:
        """A position on the clock."""
        return cls("time", f"{nanoseconds:020d}")


@dataclass(frozen=True, slots=True)
class ObjectRef:
    """One object, or one version of it, as an event names it."""

    provider: Provider
    bucket: str
    key: str  # UTF-8, 1 to 1,024 bytes, not percent-encoded
    region: str = ""
    version: str = ""  # version id, generation or local version; "" = the newest
    account: str = ""  # who has the bucket, where its name is not enough: Azure's account, the host of an S3 endpoint


@dataclass(frozen=True, slots=True)
class Checksums:
    """Digests of one object's whole content, lower-case hexadecimal; "" = not known."""

    crc32c: str = ""
    sha256: str = ""
    md5: str = ""
    crc64nvme: str = ""

    def conflict(self, other: Checksums) -> str:
        """The name of the first digest that both sides know and that differs, or ""."""
        for name in ("crc32c", "sha256", "md5", "crc64nvme"):
            mine, theirs = getattr(self, name), getattr(other, name)
            if mine and theirs and mine != theirs:
                return name
        return ""

    def shares(self, other: Checksums) -> bool:
        """Whether both sides know at least one digest of the same kind, so that equality proves something."""
        return any(getattr(self, n) and getattr(other, n) for n in ("crc32c", "sha256", "md5", "crc64nvme"))


FILE_MODES = "file permissions"  # in `Traits.lossy` of every store that is no folder


@dataclass(frozen=True, slots=True)
class Attributes:
    """What an object carries besides its bytes."""

    content_type: str = ""
    content_encoding: str = ""
    content_language: str = ""
    content_disposition: str = ""
    cache_control: str = ""
    metadata: Mapping[str, str] = field(default_factory=lambda: EMPTY)  # user metadata, keys lower-case
    tags: Mapping[str, str] = field(default_factory=lambda: EMPTY)
    storage_class: str = ""
    modes: tuple[int, ...] = field(
        default=(), compare=False
    )  # of a file: permission bits of the folders on its path, and its own


@dataclass(frozen=True, slots=True)
class ObjectMeta:
    """What a store says about one object version."""

    key: str
    size: int  # bytes
    version: str  # opaque, changes whenever the content does: what a read is pinned to and a precondition names
    modified: float  # seconds since 1970
    position: Position | None = None  # where this version stands, if the store orders versions
    checksums: Checksums = field(default_factory=Checksums)
    attributes: Attributes = field(default_factory=Attributes)
    kept: bool = False  # the store keeps it under an id of its own, whatever is written or deleted after it
    unfinished: bool = False  # the provider is filling it still (a copy by Azure): it has less than it will have


UNPLAIN = re.compile("[\ud800-\U0010ffff]")  # characters that UTF-16, by which some sort, orders otherwise than UTF-8


@dataclass(frozen=True, slots=True)
class Traits:
    """What a store can do. The engine reads this and never asks who the provider is."""

    create_only: bool = True  # a write can demand that the key does not exist
    replace_exact: bool = True  # a write can demand that the key holds exactly one version
    delete_exact: bool = True  # so can a delete; where not, that of a version that is `kept` still can
    finish_exact: bool = True  # finish_upload can demand what write can
    attests: frozenset[str] = frozenset({"crc32c"})  # digests that it computes itself for what it keeps
    metadata: bool = True  # user metadata are kept, so the position can be stamped
    metadata_limit: int = 2048  # bytes of user metadata, keys and values together
    single_put_limit: int = 5 * 2**30  # bytes that one write may carry
    min_part: int = 1  # bytes; the last part may be smaller
    max_part: int = 5 * 2**30
    max_parts: int = 10_000
    parallel_parts: bool = True
    resumable: bool = False  # an upload outlives the process that began it: another can ask for its parts and go on
    listed_uploads: Literal["", "own", "all"] = ""  # `uploads` gives none, those that Skyferry began, or anybody's
    copy_attests: frozenset[str] = frozenset()  # digests attested of what `copy_from` made; none = it has no such verb
    copy_exact: bool = False  # `copy_from` can demand what write can
    copy_limit: int = 5 * 2**30  # bytes that one `copy_from` may carry
    copy_parts_attest: frozenset[str] = frozenset()  # the same of uploads made by `copy_part`; none = no such verb
    # of listings: that of the keys' bytes (UTF-8); the same as far as keys are `plain`, with no character beyond U+D7FF; or any
    order: Literal["bytes", "plain", "none"] = "bytes"
    lossy: tuple[str, ...] = ()  # what it cannot carry, in words, said once at start per route


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
class Part:
    """One part of an upload that the store has taken."""

    number: int  # from 1
    offset: int
    size: int
    tag: str  # what the store wants back on completion (ETag, block id)
    crc32c: str = ""


@dataclass(frozen=True, slots=True)
class Upload:
    """A multipart write under way. Nothing of it is visible under the key before completion."""

    id: str  # what it is called; printable
    key: str
    size: int  # of the whole object
    part_size: int
    attributes: Attributes = field(default_factory=Attributes)
    started_at: float = 0.0
    secret: str = field(default="", repr=False)  # who has it may write: kept in the ledger, and told to nobody


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
