"""The records of a ledger in memory."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Collection, Iterable
from dataclasses import field, replace
from typing import Protocol, TypeVar

from skyferry.frozen import dataclass
from skyferry.ledgers import rules
from skyferry.ledgers.rates import SharedRate
from skyferry.model import Claim, Failure, Placement, Progress, Receipt, State, Transfer
from skyferry.ports import Clock, DeadLetter, Heartbeat, HeldDelete, Refusal, TransferRow

Key = tuple[str, str]  # store and key of a destination


@dataclass(slots=True)
class MemoryLease:
    """The lease on a destination key."""

    owner: int
    fence: int
    until: float


@dataclass(slots=True)
class MemoryTransfer:
    """A transfer."""

    serial: int
    transfer: Transfer
    owner: int  # of the last claim
    created_at: float
    updated_at: float
    state: State = State.CLAIMED
    reason: str = ""
    burned: int = 0
    lost: int = 0
    due_at: float | None = None
    receipt: Receipt | None = None
    failures: tuple[Failure, ...] = ()

    def view(self) -> TransferRow:
        """Return it as a listing shows it."""
        attempts = self.burned + (self.state in rules.COUNTED)
        return TransferRow(
            self.transfer,
            self.state,
            self.reason,
            attempts,
            self.lost,
            self.created_at,
            self.updated_at,
            self.due_at,
            self.receipt,
        )


@dataclass(slots=True)
class MemoryLetter:
    """A dead letter and its leases."""

    serial: int
    letter: DeadLetter
    redrive_at: float = 0.0  # end of the lease to redrive it
    publish_at: float = 0.0  # end of the lease to publish it; infinity = published


@dataclass(frozen=True, slots=True)
class MemoryUpload:
    """An open upload."""

    progress: Progress
    saved_at: float

    def view(self, now: float) -> Progress:
        """Return it as of now."""
        return replace(self.progress, age=now - self.saved_at)


@dataclass(frozen=True, slots=True)
class MemoryWorker:
    """A worker's last heartbeat."""

    last: Heartbeat
    at: float
    until: float


@dataclass(frozen=True, slots=True)
class MemoryRole:
    """The lease on a role."""

    holder: str
    since: float
    until: float


@dataclass(slots=True)
class MemoryBreaker:
    """An open breaker, and the lease on its trial."""

    opening: int
    side: str
    at: float
    until: float
    cooldown: float
    holder: str = ""  # of the trial
    trial_until: float = 0.0


@dataclass(slots=True)
class MemoryState:
    """The part that outlives a worker: several `MemoryLedger`s with one state are workers on one durable ledger."""

    rows: dict[str, MemoryTransfer] = field(default_factory=dict)  # by transfer id, in the order of the first claim
    placements: dict[Key, Placement] = field(default_factory=dict)
    leases: dict[Key, MemoryLease] = field(default_factory=dict)
    letters: dict[str, MemoryLetter] = field(default_factory=dict)
    uploads: dict[tuple[Key, str], MemoryUpload] = field(default_factory=dict)  # by key and upload id, the latest last
    refusals: dict[tuple[str, str, str], Refusal] = field(default_factory=dict)  # by provider, bucket and key
    held_deletes: dict[str, HeldDelete] = field(default_factory=dict)  # by id, the earliest first
    identities: dict[str, str] = field(default_factory=dict)  # by source
    workers: dict[str, MemoryWorker] = field(default_factory=dict)  # by owner
    roles: dict[str, MemoryRole] = field(default_factory=dict)
    rates: dict[str, SharedRate] = field(default_factory=dict)
    breakers: dict[str, MemoryBreaker] = field(default_factory=dict)
    owners: list[str] = field(default_factory=list)
    fences: int = 0
    serials: int = 0

    def register(self, owner: str) -> int:
        """Return a number for a process that starts. An earlier process of the same name is dead."""
        for number, name in enumerate(self.owners):
            if name == owner:
                self.unregister(number)
        self.owners.append(owner)
        return len(self.owners) - 1

    def unregister(self, number: int, kept: Collection[Key] = ()) -> None:
        """Free the roles of a process, and its leases but for those of the keys `kept`."""
        name = self.owners[number]
        self.leases = {key: lease for key, lease in self.leases.items() if lease.owner != number or key in kept}
        self.roles = {role: lease for role, lease in self.roles.items() if lease.holder != name}
        self.workers.pop(name, None)

    def next_serial(self) -> int:
        """Return a number larger than any before."""
        self.serials += 1
        return self.serials

    def find_lease(self, claim: Claim) -> MemoryLease | None:
        """Return the lease of a claim; None if it was lost."""
        lease = self.leases.get(key_of(claim))
        return lease if lease and lease.fence == claim.fence else None

    def add_letter(self, letter: DeadLetter) -> None:
        """Add a letter. A letter of a known id is kept, but a redriven one is replaced: it has died again."""
        old = self.letters.get(letter.id)
        if old is None or old.letter.redriven_at is not None:
            self.letters[letter.id] = MemoryLetter(self.next_serial(), rules.reset_letter(letter))


class LedgerPart:
    """One part of a ledger in memory."""

    _state: MemoryState
    _clock: Clock

    @abstractmethod
    async def _step(self) -> None:
        """Let other tasks run. Every operation begins with it."""


class Numbered(Protocol):
    """An item with a serial."""

    @property
    def serial(self) -> int:
        """The order of creation."""


Item = TypeVar("Item", bound=Numbered)


def take_page(found: Iterable[Item], at: Callable[[Item], float], cursor: str, limit: int) -> tuple[list[Item], str]:
    """Return the newest items behind the cursor, and the cursor of the next page."""
    start = rules.parse_cursor(cursor) if cursor else None
    ordered = sorted(
        ((rules.to_ticks(at(item)), item.serial, item) for item in found), key=lambda o: o[:2], reverse=True
    )
    left = [item for when, serial, item in ordered if start is None or (when, serial) < start]
    page = left[:limit]
    return page, rules.make_cursor(rules.to_ticks(at(page[-1])), page[-1].serial) if len(left) > limit else ""


def key_of(claim: Claim) -> Key:
    """Return the destination of a claim."""
    return claim.transfer.store, claim.transfer.key
