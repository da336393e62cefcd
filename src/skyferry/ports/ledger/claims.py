"""The port of the durable memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Generic, Protocol, TypeVar

from skyferry.frozen import dataclass
from skyferry.model import Claim, Failure, Placement, Position, Progress, Receipt, State, Transfer
from skyferry.ports.ledger.held_deletes import HeldDeletes
from skyferry.ports.ledger.refusals import Refusal
from skyferry.ports.letter_attributes import Death

Item = TypeVar("Item")


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
    """Nothing to do, and why: superseded, current, gone, deleted, filtered, foreign, loop, hops, ignored, no_route.

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
    closed: tuple[str, ...] = ()  # ids of uploads to this key that were finished or aborted: they are forgotten


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


class Ledger(HeldDeletes, Protocol):
    """The durable memory. Every method is one atomic step, durable on return; calls made at the same time are committed together.

    `claim` and `renew` MAY be lost with the power, where that ends everybody who could hold a claim too.

    The lease is on the destination key (store and key): one owner works on it at a time. The same owner may claim several
    transfers of one key, at once or one after the other, and gets the same fence; the engine runs them one by one.
    """

    owner: str  # this process's name in leases
    lease: float  # seconds

    async def claim(self, transfers: Sequence[Transfer]) -> list[Claim | Settled | Wait]:
        """One answer per transfer, in order.

        A settled transfer: Settled; but one that was skipped as `no_route` is claimable again, by a configuration that has its
        route; nor is one that was done or skipped Settled where a person asks for it, or where the key's placement is in none of
        the stores that the transfer's `identities` name. Such a placement is left out of a claim, too.
        One whose retry is not due: Wait(busy=False). A key leased by a live other owner:
        Wait(busy=True). Otherwise Claim: recorded as CLAIMED, `fence` larger than that of any earlier owner of the key,
        `attempt` = burned failures + 1, `lost` one more if it was CLAIMED by somebody whose lease ended without a settle.
        A transfer whose dead letter was redriven is claimable again, with its attempts counted from 1. `uploads` are those
        that `save` was told of, whoever did, and that nobody has closed.
        """

    async def renew(self, claims: Sequence[Claim]) -> list[Claim]:
        """Extend the leases; returns the claims that were lost to another owner."""

    async def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        """Record outcomes; False where the fence is old: nothing of that settlement is recorded.

        Done replaces the placement and merges its positions with the old ones (newest per scheme), if about the same
        source key. Released does not count as a failure, nor as lost. Dead writes the dead letter in the same step.
        """

    async def save(self, saves: Sequence[tuple[Claim, Progress]]) -> list[bool]:
        """Remember uploads under way to the claims' keys; False where the fence is old: nothing of that one is remembered.

        An upload goes by its store and id. Parts are added to those saved before; of one number the last counts. They stay
        until `Settlement.closed` or `close_uploads` names them, whatever becomes of the transfer.
        """

    def open_uploads(self) -> AsyncIterator[Progress]:
        """All that are remembered, without their parts, page by page; the longest untouched first."""

    async def close_uploads(self, store: str, ids: Sequence[str]) -> None:
        """Forget uploads that were finished or aborted. Idempotent."""

    async def bury(self, letters: Sequence[DeadLetter]) -> None:
        """Keep messages that could not be parsed. Idempotent by id."""

    async def refuse(self, refusals: Sequence[Refusal]) -> None:
        """Remember events that no route takes, the last call's per source key. They MAY be lost with the power."""

    async def refusals(self, key: str) -> list[Refusal]:
        """Those of this source key in any bucket, the last refused first."""

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

    async def unrouted(self, limit: int = 20) -> list[tuple[str, int]]:
        """Dead letters with the reason `unrouted_bucket`, grouped: (provider://bucket, count), largest first; cheap."""

    async def redrive(self, where: Filter, ids: Sequence[str] | None = None) -> int:
        """Mark for processing again, and make their transfers claimable; `ids` narrows to these. How many."""

    async def discard(self, where: Filter, ids: Sequence[str] | None = None) -> int:
        """Give up for good: the letters go, their transfers become DISCARDED. How many."""

    async def take_redriven(self, limit: int, lease: float) -> list[DeadLetter]:
        """Lease redriven letters that nobody has in hand; one whose lease ends comes again."""

    async def finish_redriven(self, deaths: Sequence[Death], retry_at: float | None = None) -> None:
        """Remove those still marked as redriven: one that died again is a new letter, also if somebody has redriven it already.

        With `retry_at`, they come again then.
        """

    async def redriven(self) -> int:
        """How many letters are being processed again, or wait for it; cheap."""

    async def take_unpublished(self, limit: int, lease: float) -> list[DeadLetter]:
        """Lease letters that `published` was not told of and nobody has in hand; one whose lease ends comes again.

        Those that were redriven are left out: what comes of them is not known yet.
        """

    async def published(self, letters: Sequence[DeadLetter], retry_at: float | None = None) -> None:
        """Remember that they were sent on. With `retry_at`, they were not, and come again then. Idempotent.

        What was redriven and died again since is a new letter, and not meant.
        """

    async def counts(self) -> dict[State, int]:
        """Transfers by state; cheap at any size."""

    async def oldest_unsettled(self) -> dict[str, float]:
        """By route, when the event happened whose transfer is the first known of those not settled; {} = all are.

        Takes the longer the more are not settled.
        """

    async def check(self) -> None:
        """Raises LedgerError if it cannot be written."""

    async def prune(self, before: float, limit: int = 1000) -> int:
        """Forget settled transfers and refusals last updated before; how many, at most `limit`. Placements and letters stay."""

    async def close(self) -> None:
        """Free this owner's leases at once, and the files. Idempotent."""
