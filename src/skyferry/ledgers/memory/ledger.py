"""A ledger in memory: for tests, simulations and trials. It lives as long as its state; every promise but durability holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from math import inf
from typing import TypeVar

from skyferry.errors import LedgerError
from skyferry.ledgers import rules
from skyferry.ledgers.memory.held_deletes import Held, MemoryHeld
from skyferry.ledgers.memory.queries import letter_matches, matches
from skyferry.ledgers.memory.refusals import Refusals, unrouted
from skyferry.ledgers.memory.uploads import Uploads
from skyferry.model import Claim, Failure, Placement, Progress, Receipt, State, Transfer
from skyferry.ports import (
    Clock,
    Dead,
    DeadLetter,
    Done,
    Filter,
    Page,
    Refusal,
    Settled,
    Settlement,
    Skipped,
    TransferRow,
    Wait,
)
from skyferry.ports.letter_attributes import Death

Key = tuple[str, str]  # store and key of a destination
Item = TypeVar("Item", "_Row", "_Letter")


@dataclass(slots=True)
class _Lease:
    owner: int
    fence: int
    until: float


@dataclass(slots=True)
class _Row:
    serial: int
    transfer: Transfer
    owner: int  # who claimed it last
    created_at: float
    updated_at: float
    state: State = State.CLAIMED
    reason: str = ""
    burned: int = 0
    lost: int = 0
    due_at: float | None = None
    receipt: Receipt | None = None
    failures: tuple[Failure, ...] = ()

    def listed(self) -> TransferRow:
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
class _Letter:
    serial: int
    letter: DeadLetter
    hidden_until: float = 0.0  # of a redriven one: leased, or not due yet
    publish_at: float = 0.0  # leased for it until then; infinity = it was published


@dataclass(slots=True)
class MemoryState:
    """What survives a worker: give the same one to several `MemoryLedger`s and they are workers on one durable ledger."""

    rows: dict[str, _Row] = field(default_factory=dict)  # by transfer id, the first claimed first
    places: dict[Key, Placement] = field(default_factory=dict)
    leases: dict[Key, _Lease] = field(default_factory=dict)
    letters: dict[str, _Letter] = field(default_factory=dict)
    uploads: Uploads = field(default_factory=Uploads)
    refusals: Refusals = field(default_factory=Refusals)
    held: Held = field(default_factory=Held)
    owners: list[str] = field(default_factory=list)
    fences: int = 0
    serials: int = 0

    def enter(self, owner: str) -> int:
        """A number for a process that starts. One of the same name that was there before is dead."""
        for number, name in enumerate(self.owners):
            if name == owner:
                self.leave(number)
        self.owners.append(owner)
        return len(self.owners) - 1

    def leave(self, number: int) -> None:
        """Free the leases of a process."""
        self.leases = {key: lease for key, lease in self.leases.items() if lease.owner != number}

    def serial(self) -> int:
        """Larger than any before."""
        self.serials += 1
        return self.serials


class MemoryLedger(MemoryHeld):
    """A `Ledger` on a `MemoryState`. Deterministic: no threads, no randomness, time only from `clock`."""

    def __init__(self, owner: str, clock: Clock, lease: float = 30.0, state: MemoryState | None = None) -> None:
        """`lease` is in seconds; without `state` the ledger has one of its own."""
        self.owner = owner
        self.lease = lease
        self._clock = clock
        self._state = MemoryState() if state is None else state
        self._me, self._deletes = self._state.enter(owner), self._state.held
        self._closed = False

    async def claim(self, transfers: Sequence[Transfer]) -> list[Claim | Settled | Wait]:
        await self._step()
        now = self._clock.time()
        return [self._claim(transfer, now) for transfer in transfers]

    def _claim(self, transfer: Transfer, now: float) -> Claim | Settled | Wait:
        state, key = self._state, (transfer.store, transfer.key)
        row, lease = state.rows.get(transfer.id), state.leases.get(key)
        held = lease.until if lease and lease.owner != self._me else 0.0
        known = (row.state, row.reason, row.due_at) if row else (State.CLAIMED, "", None)
        if refused := rules.refuse(transfer, *known, held, now, state.places.get(key)):
            return refused
        if lease is None or lease.owner != self._me:
            state.fences += 1
            lease = state.leases[key] = _Lease(self._me, state.fences, 0.0)
        lease.until = max(lease.until, now + self.lease)
        if row is None:
            row = state.rows[transfer.id] = _Row(state.serial(), transfer, self._me, now, now)
        elif row.state is not State.CLAIMED or row.owner != self._me:
            row.lost += row.state is State.CLAIMED
            row.owner, row.state, row.reason, row.due_at, row.updated_at = self._me, State.CLAIMED, "", None, now
        placed, uploads = rules.known(state.places.get(key), transfer), state.uploads.of(key)
        return Claim(transfer, lease.fence, row.burned + 1, row.lost, placed, lease.until, uploads)

    async def renew(self, claims: Sequence[Claim]) -> list[Claim]:
        await self._step()
        until = self._clock.time() + self.lease
        lost = []
        for claim in claims:
            if lease := self._held(claim):
                lease.until = max(lease.until, until)
            else:
                lost.append(claim)
        return lost

    async def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        await self._step()
        now = self._clock.time()
        answers = [self._settle(settlement, now) for settlement in settlements]
        for settlement in settlements:
            if settlement.last and self._held(settlement.claim):
                del self._state.leases[_key(settlement.claim)]
        return answers

    def _settle(self, settlement: Settlement, now: float) -> bool:
        claim, outcome = settlement.claim, settlement.outcome
        row = self._state.rows.get(claim.transfer.id)
        if row is None or row.state is not State.CLAIMED or not self._held(claim):
            return False
        row.state, row.reason, row.due_at, failure = rules.after(outcome)
        row.updated_at = now
        if failure:
            row.failures += (failure,)
            row.burned += failure.counts_as_attempt
        self._state.uploads.settled(_key(claim), settlement.closed)
        self._place(claim, outcome)
        if isinstance(outcome, Done):
            row.receipt = outcome.receipt
        elif isinstance(outcome, Dead):
            self._keep(rules.letter(claim.transfer, outcome, row.failures))
        return True

    def _place(self, claim: Claim, outcome: object) -> None:
        key = _key(claim)
        old = self._state.places.get(key)
        if isinstance(outcome, Done):
            self._state.places[key] = rules.merged(outcome.placement, old)
        elif (
            isinstance(outcome, Skipped)
            and (old := rules.known(old, claim.transfer))
            and old.is_from(claim.transfer.source)
        ):
            self._state.places[key] = old.with_positions(outcome.positions)

    def _held(self, claim: Claim) -> _Lease | None:
        lease = self._state.leases.get(_key(claim))
        return lease if lease and lease.fence == claim.fence else None

    def _keep(self, letter: DeadLetter) -> None:
        """Letters that lie there already stay as they are; a redriven one has died again, and is a new one."""
        old = self._state.letters.get(letter.id)
        if old is None or old.letter.redriven_at is not None:
            self._state.letters[letter.id] = _Letter(self._state.serial(), rules.fresh(letter))

    async def save(self, saves: Sequence[tuple[Claim, Progress]]) -> list[bool]:
        await self._step()
        now, answers = self._clock.time(), []
        for claim, progress in saves:
            answers.append(self._held(claim) is not None)
            if answers[-1]:
                self._state.uploads.save(_key(claim), progress, now)
        return answers

    async def open_uploads(self) -> AsyncIterator[Progress]:
        await self._step()
        for progress in self._state.uploads.untouched():
            yield progress

    async def close_uploads(self, store: str, ids: Sequence[str]) -> None:
        await self._step()
        self._state.uploads.close(store, ids)

    async def bury(self, letters: Sequence[DeadLetter]) -> None:
        await self._step()
        for letter in letters:
            self._keep(letter)

    async def refuse(self, refusals: Sequence[Refusal]) -> None:
        await self._step()
        self._state.refusals.remember(refusals)

    async def refusals(self, key: str) -> list[Refusal]:
        await self._step()
        return self._state.refusals.of(key)

    async def placements(self, store: str, keys: Sequence[str]) -> list[Placement | None]:
        await self._step()
        return [self._state.places.get((store, key)) for key in keys]

    async def placed(self, store: str, source: str, after: str = "") -> AsyncIterator[Placement]:
        await self._step()
        for key in sorted(key for place, key in self._state.places if place == store and key > after):
            placement = self._state.places[store, key]
            if not placement.deleted and placement.source.bucket == source:
                yield placement

    async def transfer(self, transfer_id: str) -> TransferRow | None:
        await self._step()
        row = self._state.rows.get(transfer_id)
        return replace(row.listed(), failures=row.failures) if row else None

    async def transfers(self, where: Filter, cursor: str = "", limit: int = 100) -> Page[TransferRow]:
        await self._step()
        found = [row for row in self._state.rows.values() if matches(row.listed(), where)]
        rows, more = _page(found, lambda row: row.updated_at, cursor, limit)
        return Page([row.listed() for row in rows], more)

    async def dead_letters(self, where: Filter, cursor: str = "", limit: int = 100) -> Page[DeadLetter]:
        await self._step()
        kept, more = _page(self._find(where, None), lambda kept: kept.letter.at, cursor, limit)
        return Page([k.letter for k in kept], more)

    async def dead_letter(self, letter_id: str) -> DeadLetter | None:
        await self._step()
        kept = self._state.letters.get(letter_id)
        return kept.letter if kept else None

    async def causes(self) -> list[tuple[str, str, int]]:
        await self._step()
        groups = Counter((kept.letter.route, kept.letter.reason) for kept in self._state.letters.values())
        return sorted(((*group, count) for group, count in groups.items()), key=lambda g: (-g[2], g[0], g[1]))

    async def unrouted(self, limit: int = 20) -> list[tuple[str, int]]:
        await self._step()
        return unrouted((kept.letter for kept in self._state.letters.values()), limit)

    async def redrive(self, where: Filter, ids: Sequence[str] | None = None) -> int:
        await self._step()
        now = self._clock.time()
        found = [kept for kept in self._find(where, ids) if kept.letter.redriven_at is None]
        for kept in found:
            kept.letter, kept.hidden_until = replace(kept.letter, redriven_at=now), now
            row = self._state.rows.get(kept.letter.id)
            if row and row.state is State.DEAD:
                row.state, row.due_at, row.updated_at, row.burned, row.lost = State.RETRY, now, now, 0, 0
        return len(found)

    async def discard(self, where: Filter, ids: Sequence[str] | None = None) -> int:
        await self._step()
        count = 0
        for kept in self._find(where, ids):
            row = self._state.rows.get(kept.letter.id)
            if row and row.state is State.CLAIMED:
                continue
            if row and row.state in (State.DEAD, State.RETRY):
                row.state, row.due_at, row.updated_at = State.DISCARDED, None, self._clock.time()
            del self._state.letters[kept.letter.id]
            count += 1
        return count

    async def take_redriven(self, limit: int, lease: float) -> list[DeadLetter]:
        await self._step()
        now = self._clock.time()
        ready = [k for k in self._state.letters.values() if k.letter.redriven_at is not None and k.hidden_until <= now]
        taken = sorted(ready, key=lambda kept: (kept.hidden_until, kept.serial))[:limit]
        for kept in taken:
            kept.hidden_until = now + lease
        return [kept.letter for kept in taken]

    async def finish_redriven(self, deaths: Sequence[Death], retry_at: float | None = None) -> None:
        await self._step()
        for death in deaths:
            kept = self._state.letters.get(death.id)
            if kept is None or kept.letter.redriven_at is None or kept.letter.at != death.at:
                continue
            if retry_at is None:
                del self._state.letters[death.id]
            else:
                kept.hidden_until = retry_at

    async def redriven(self) -> int:
        await self._step()
        return sum(kept.letter.redriven_at is not None for kept in self._state.letters.values())

    async def take_unpublished(self, limit: int, lease: float) -> list[DeadLetter]:
        await self._step()
        now = self._clock.time()
        ready = [k for k in self._state.letters.values() if k.letter.redriven_at is None and k.publish_at <= now]
        taken = sorted(ready, key=lambda kept: (kept.publish_at, kept.serial))[:limit]
        for kept in taken:
            kept.publish_at = now + lease
        return [kept.letter for kept in taken]

    async def published(self, letters: Sequence[DeadLetter], retry_at: float | None = None) -> None:
        await self._step()
        for letter in letters:
            kept = self._state.letters.get(letter.id)
            if kept and kept.letter.at == letter.at and kept.publish_at < inf:
                kept.publish_at = inf if retry_at is None else retry_at

    async def counts(self) -> dict[State, int]:
        await self._step()
        found = Counter(row.state for row in self._state.rows.values())
        return {state: found[state] for state in State}

    async def oldest_unsettled(self) -> dict[str, float]:
        await self._step()
        rows = reversed(self._state.rows.values())
        return {row.transfer.route: row.transfer.occurred_at for row in rows if not row.state.settled}

    async def check(self) -> None:
        await self._step()

    async def prune(self, before: float, limit: int = 1000) -> int:
        await self._step()
        gone = (State.DONE, State.SKIPPED, State.DISCARDED)
        rows = [row for row in self._state.rows.values() if row.state in gone and row.updated_at < before]
        for row in sorted(rows, key=lambda row: (row.updated_at, row.serial))[:limit]:
            del self._state.rows[row.transfer.id]
        return len(rows[:limit]) or self._state.refusals.prune(before, limit)

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._state.leave(self._me)

    async def _step(self) -> None:
        """Other tasks run before every operation, as they would with a real ledger; a cancelled one has had no effect."""
        if self._closed:
            raise LedgerError("it is closed", where="memory")
        await self._clock.sleep(0)

    def _find(self, where: Filter, ids: Sequence[str] | None) -> list[_Letter]:
        letters = self._state.letters
        among = letters.values() if ids is None else [letters[name] for name in dict.fromkeys(ids) if name in letters]
        return [kept for kept in among if letter_matches(kept.letter, where)]


def _key(claim: Claim) -> Key:
    return claim.transfer.store, claim.transfer.key


def _page(found: Iterable[Item], at: Callable[[Item], float], cursor: str, limit: int) -> tuple[list[Item], str]:
    """The newest of those behind the cursor, and the cursor behind them."""
    start = rules.behind(cursor) if cursor else None
    ordered = sorted(((rules.ticks(at(item)), item.serial, item) for item in found), key=lambda o: o[:2], reverse=True)
    left = [item for when, serial, item in ordered if start is None or (when, serial) < start]
    page = left[:limit]
    return page, rules.cursor(rules.ticks(at(page[-1])), page[-1].serial) if len(left) > limit else ""
