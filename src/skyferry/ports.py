"""The ports: what the engine needs of the world. The docstrings are the contracts; adapters do not repeat them.

Every method is a coroutine that may be cancelled at any await; a cancelled call may or may not have taken effect, and
callers MUST cope with both. Errors are those of `skyferry.errors`; anything else is a bug of the adapter.
Times are seconds since 1970 (float), durations seconds, sizes bytes. `skyferry.testing` ships one conformance suite per port.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from skyferry.model import (
    Attributes,
    Checksums,
    Claim,
    Failure,
    ObjectMeta,
    Placement,
    Position,
    Priority,
    Receipt,
    State,
    Traits,
    Transfer,
)
from skyferry.records import Record

T = TypeVar("T")
Item = TypeVar("Item")


class Clock(Protocol):
    """Time, injected, so that tests never sleep."""

    def time(self) -> float:
        """Seconds since 1970."""

    def monotonic(self) -> float:
        """Seconds from an arbitrary start; never goes back."""

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds`; 0 or less yields once to other tasks."""


class Offload(Protocol):
    """Runs what would block the event loop (digests of large buffers) elsewhere; inline in simulations."""

    async def run(self, function: Callable[..., T], *args: object) -> T:
        """The result of `function(*args)`; its exception is raised as it is."""


class Observer(Protocol):
    """Hears every step. MUST NOT block, raise or keep the record's mutable parts."""

    def on(self, record: Record) -> None:
        """Called on the event loop, in the order of the steps."""


# --- object store -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Precondition:
    """What MUST hold at the destination, atomically with the write. Neither given: write whatever is there."""

    create_only: bool = False  # the key does not exist
    replace: str = ""  # the key holds exactly this version


ANY = Precondition()


@dataclass(frozen=True, slots=True)
class ObjectData:
    """The answer of one ranged read."""

    meta: ObjectMeta  # of the whole object
    data: bytes  # the range


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

    id: str
    key: str
    size: int  # of the whole object
    part_size: int
    attributes: Attributes = field(default_factory=Attributes)
    started_at: float = 0.0


class ObjectStore(Protocol):
    """One bucket (or folder) on one provider.

    Keys are checked by the store before any effect: one it cannot hold raises `InvalidKey`.
    A write is atomic (readers see the old object or the whole new one) and durable when the call returns.
    A missing bucket is `BucketNotFound`, never `ObjectNotFound`: an unreachable source must not look like deletes.
    """

    name: str  # as the configuration and the ledger know it
    traits: Traits

    async def head(self, key: str) -> ObjectMeta:
        """The newest version. Raises ObjectNotFound."""

    async def read(self, key: str, start: int, length: int, *, version: str = "") -> ObjectData:
        """Exactly the bytes [start, min(start + length, size)) of one version, raw as stored, in one request.

        `version` pins the read: if the key does not hold that version any more (and the store keeps no old ones), raises
        VersionChanged. Without it, the newest version. A start at or past the end gives b"". A short or broken body
        MUST raise, never return fewer bytes. If the content changes during the call: VersionChanged. Raises ObjectNotFound.
        """

    async def write(
        self, key: str, data: bytes, attributes: Attributes, checksums: Checksums, when: Precondition = ANY
    ) -> ObjectMeta:
        """Write a whole object in one request; the returned meta carries the store's own attested checksums.

        A store that can, refuses a body that does not match `checksums` (ChecksumMismatch), and then keeps the old object.
        Raises PreconditionFailed if `when` does not hold; `traits` tell which preconditions it honours, and one that it
        does not honour MUST raise Unsupported rather than be ignored.
        """

    async def start_upload(self, key: str, size: int, part_size: int, attributes: Attributes) -> Upload:
        """Begin a multipart write. Parts are `part_size` long, but for the last."""

    async def write_part(self, upload: Upload, number: int, data: bytes, crc32c: str) -> Part:
        """Write part `number` (from 1; offset = (number - 1) * part_size). May be repeated; the last one counts.

        Parts may come in any order and at the same time where `traits.parallel_parts`, else in order, one at a time.
        """

    async def finish_upload(
        self, upload: Upload, parts: Sequence[Part], checksums: Checksums, when: Precondition = ANY
    ) -> ObjectMeta:
        """Make the object visible, as `write` would have. After an error the upload is still there to be aborted."""

    async def abort_upload(self, upload: Upload) -> None:
        """Give the upload up and free its parts. Idempotent; an unknown upload is no error."""

    async def delete(self, key: str, when: Precondition = ANY) -> None:
        """Delete the newest version. Idempotent: an absent key is no error (with `when.replace` it is PreconditionFailed)."""

    def list(self, prefix: str = "", after: str = "") -> AsyncIterator[ObjectMeta]:
        """Objects whose key starts with `prefix` and sorts after `after`, in UTF-8 order of the key; attributes may be empty.

        Memory is bounded by a page. What changes meanwhile may or may not be seen; what does not change is seen once.
        """

    async def close(self) -> None:
        """Free connections and threads. Idempotent."""


# --- event queue ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Message:
    """One leased message. `receipt` names this lease: after another receive of the same message it is stale."""

    id: str
    body: bytes  # raw: it may be anything
    receipt: str
    attempt: int  # how often it was received, this time included
    enqueued_at: float
    lease_until: float
    attributes: tuple[tuple[str, str], ...] = ()
    priority: Priority = Priority.NORMAL


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message to send."""

    body: bytes
    attributes: tuple[tuple[str, str], ...] = ()
    priority: Priority = Priority.NORMAL
    delay: float = 0.0
    dedup_id: str = ""  # sent again while the first is still in the queue: kept once


@dataclass(frozen=True, slots=True)
class Depth:
    """How full a queue is; -1 where the provider does not tell."""

    ready: int
    leased: int
    delayed: int
    oldest_age: float  # seconds since the oldest unacked message was sent; 0 when empty


class EventQueue(Protocol):
    """Where events come from: at least once, unordered, a lease per message."""

    name: str
    lease: float  # seconds a message is ours after receive or extend

    async def receive(self, limit: int, wait: float) -> list[Message]:
        """Lease 1 to `limit` messages; waits at most `wait` seconds for the first, then returns what there is, maybe [].

        Higher priority first, but a lower one MUST NOT wait for ever. A message whose lease ends comes again.
        """

    async def extend(self, messages: Sequence[Message]) -> list[Message]:
        """Renew the leases to `lease` seconds from now; returns those that were lost meanwhile."""

    async def ack(self, messages: Sequence[Message]) -> None:
        """Remove for ever, durably on return. A stale receipt MUST NOT remove a message that another holds; it is no error."""

    async def release(self, messages: Sequence[Message], delay: float) -> None:
        """Give back before the lease ends; they come again after `delay` seconds (as near as the provider can)."""

    async def send(self, messages: Sequence[Outgoing]) -> list[str]:
        """Durable on return; the ids, in order. A repeated `dedup_id` gives the id of the first."""

    async def depth(self) -> Depth:
        """Cheap enough to ask every few seconds."""

    async def close(self) -> None:
        """Free connections and threads; leases run out by themselves, or are freed at once where the adapter can. Idempotent."""


# --- ledger -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Settled:
    """The answer to a claim: nothing left to do, ack it."""

    transfer_id: str
    state: State
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Wait:
    """The answer to a claim: not now. Come again at `until`."""

    transfer_id: str
    until: float
    busy: bool  # True = another worker holds the destination key; False = its retry is not due yet


@dataclass(frozen=True, slots=True)
class Done:
    """Applied and proven. Moves the placement of the destination key forward."""

    receipt: Receipt
    placement: Placement


@dataclass(frozen=True, slots=True)
class Skipped:
    """Nothing to do, and why: superseded, current, gone, deleted, filtered, foreign, loop, ignored.

    `positions` (of the event, of the version seen) still move the placement forward where it is about the same source.
    """

    reason: str
    positions: tuple[Position, ...] = ()


@dataclass(frozen=True, slots=True)
class Retry:
    """Failed, comes again."""

    at: float
    failure: Failure


@dataclass(frozen=True, slots=True)
class Dead:
    """Given up. `body` and `attributes` are the message, so that a redrive can process it again."""

    failure: Failure
    body: bytes
    attributes: tuple[tuple[str, str], ...]
    hint: str = ""
    queue: str = ""  # where the message came from


@dataclass(frozen=True, slots=True)
class Released:
    """Given back untouched (shutdown, store down): no attempt is burned, anybody may claim it from `at` on."""

    at: float


Outcome = Done | Skipped | Retry | Dead | Released


@dataclass(frozen=True, slots=True)
class Settlement:
    """What to record for one claim. `last` frees the destination key; False = the same worker has more of it in hand."""

    claim: Claim
    outcome: Outcome
    last: bool = True


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A transfer, or a message that could not be parsed, given up on."""

    id: str  # the transfer's id; for a message that was no event, a hash of queue and message id
    at: float
    queue: str
    reason: str  # error kind: what dead letters are grouped by
    message: str
    hint: str
    body: bytes
    attributes: tuple[tuple[str, str], ...]
    route: str = ""
    source: str = ""  # provider://bucket/key, for people
    key: str = ""  # destination key
    event_id: str = ""
    correlation_id: str = ""
    attempts: tuple[Failure, ...] = ()
    redriven_at: float | None = None  # waiting to be processed again


@dataclass(frozen=True, slots=True)
class TransferRow:
    """One transfer as the ledger lists it."""

    transfer: Transfer
    state: State
    reason: str
    attempts: int
    lost: int
    created_at: float
    updated_at: float
    due_at: float | None
    receipt: Receipt | None
    failures: tuple[Failure, ...] = ()  # only where one transfer is asked for


@dataclass(frozen=True, slots=True)
class Filter:
    """Which transfers or dead letters; everything given must match."""

    state: State | None = None
    route: str = ""
    key_prefix: str = ""  # of the destination key
    source_key: str = ""  # exactly
    reason: str = ""
    since: float | None = None  # updated_at >=
    until: float | None = None  # updated_at <


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """One page of a listing, newest first. `cursor` asks for the next; "" = the end."""

    items: list[Item]
    cursor: str


class Ledger(Protocol):
    """The durable memory. Every method is one atomic step, durable on return; calls made at the same time are committed together.

    The lease is on the destination key (store and key): one owner works on it at a time. The same owner may claim several
    transfers of one key, at once or one after the other, and gets the same fence; the engine runs them one by one.
    """

    owner: str  # this process's name in leases
    lease: float  # seconds

    async def claim(self, transfers: Sequence[Transfer]) -> list[Claim | Settled | Wait]:
        """One answer per transfer, in order.

        A settled transfer: Settled. One whose retry is not due: Wait(busy=False). A key leased by a live other owner:
        Wait(busy=True). Otherwise Claim: recorded as CLAIMED, `fence` larger than that of any earlier owner of the key,
        `attempt` = burned failures + 1, `lost` one more if it was CLAIMED by somebody whose lease ended without a settle.
        A transfer whose dead letter was redriven is claimable again, with its attempts counted from 1.
        """

    async def renew(self, claims: Sequence[Claim]) -> list[Claim]:
        """Extend the leases; returns the claims that were lost to another owner."""

    async def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        """Record outcomes; False where the fence is old: nothing of that settlement is recorded.

        Done replaces the placement and merges its positions with the old ones (newest per scheme), if about the same
        source key. Released does not count as a failure, nor as lost. Dead writes the dead letter in the same step.
        """

    async def bury(self, letters: Sequence[DeadLetter]) -> None:
        """Keep messages that could not be parsed. Idempotent by id."""

    async def placements(self, store: str, keys: Sequence[str]) -> list[Placement | None]:
        """What the keys hold, in order."""

    def placed(self, store: str, source: str, after: str = "") -> AsyncIterator[Placement]:
        """All live placements (no tombstones) in `store` that came from bucket `source`, in key order, page by page."""

    async def transfer(self, transfer_id: str) -> TransferRow | None:
        """One transfer with its failures."""

    async def transfers(self, where: Filter, cursor: str = "", limit: int = 100) -> Page[TransferRow]:
        """Newest first by `updated_at`."""

    async def dead_letters(self, where: Filter, cursor: str = "", limit: int = 100) -> Page[DeadLetter]:
        """Newest first. `reason` filters by cause; redriven ones are listed until they are settled."""

    async def dead_letter(self, letter_id: str) -> DeadLetter | None:
        """One, whole."""

    async def causes(self) -> list[tuple[str, str, int]]:
        """Dead letters grouped: (route, reason, count), largest first."""

    async def redrive(self, where: Filter, ids: Sequence[str] | None = None) -> int:
        """Mark for processing again, and make their transfers claimable; `ids` narrows to these. How many."""

    async def discard(self, where: Filter, ids: Sequence[str] | None = None) -> int:
        """Give up for good: the letters go, their transfers become DISCARDED. How many."""

    async def take_redriven(self, limit: int, lease: float) -> list[DeadLetter]:
        """Lease redriven letters that nobody has in hand; one whose lease ends comes again."""

    async def finish_redriven(self, ids: Sequence[str], retry_at: float | None = None) -> None:
        """Remove those still marked as redriven (one that died again is a new letter and stays); with `retry_at`, they come again then."""

    async def counts(self) -> dict[State, int]:
        """Transfers by state; cheap at any size."""

    async def check(self) -> None:
        """Raises LedgerError if it cannot be written."""

    async def prune(self, before: float, limit: int = 1000) -> int:
        """Forget settled transfers (not placements, not dead letters) last updated before; how many, at most `limit`."""

    async def close(self) -> None:
        """Free this owner's leases at once, and the files. Idempotent."""
