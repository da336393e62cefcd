"""Claims on PostgreSQL. A batch locks its destinations, is read whole, decided, and written whole, in one transaction."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import field
from typing import Any

from skyferry.frozen import dataclass
from skyferry.ledgers import codec, rules
from skyferry.ledgers.codec import STATES
from skyferry.ledgers.postgres.claims.settlements import SettlementBatch
from skyferry.ledgers.postgres.claims.snapshot import (
    CLAIMED,
    Destination,
    LockedPlace,
    LockedRecords,
    LockedTransfer,
    lock_places,
    read_transfers,
)
from skyferry.ledgers.postgres.conditions import encode_key
from skyferry.ledgers.postgres.database import LedgerDatabase, LedgerSession, WriteConflict
from skyferry.ledgers.postgres.uploads import read_open_uploads, record_progress
from skyferry.model import Claim, Progress, Transfer
from skyferry.ports import Settled, Settlement, Wait
from skyferry.sql import load_statements

SQL = load_statements("skyferry.ledgers.postgres", "claims.sql")
LEAVE = load_statements("skyferry.ledgers.postgres", "workers.sql")["leave"]


class PostgresClaims:
    """The `Claims` part of a ledger, and the write of `UploadLog` that needs a claim."""

    owner: str
    lease: float
    _db: LedgerDatabase
    _me: int  # this owner in leases: random, so that a ledger restored from a backup gives it to no other
    _leased: set[int]  # destinations, to be freed at the end
    _kept: set[Destination]  # but for these

    async def claim(self, transfers: Sequence[Transfer]) -> list[Claim | Settled | Wait]:
        if not transfers:
            return []
        answers, leased = await self._db.write(
            lambda db: _ClaimBatch(self._me, self.owner, self.lease).run(db, transfers)
        )
        self._leased |= leased
        return answers

    async def renew(self, claims: Sequence[Claim]) -> list[Claim]:
        if not claims:
            return []
        keys = [(encode_key(c.transfer.key), c.transfer.store, c.fence) for c in claims]
        lease = rules.to_ticks(self.lease)
        rows = await self._db.write(
            lambda db: db.fetch(SQL["renew"], self._me, lease, *map(list, zip(*keys, strict=True)))
        )
        held = set(map(tuple, rows))
        return [claim for claim, key in zip(claims, keys, strict=True) if key not in held]

    async def keep(self, claims: Sequence[Claim]) -> None:
        self._kept.update((c.transfer.store, c.transfer.key) for c in claims)

    async def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        if not settlements:
            return []
        answers, freed = await self._db.write(lambda db: SettlementBatch(self._me, self.owner).run(db, settlements))
        self._leased -= freed
        return answers

    async def save_progress(self, saves: Sequence[tuple[Claim, Progress]]) -> list[bool]:
        if not saves:
            return []
        return await self._db.write(lambda db: self._save_progress(db, saves))

    async def _save_progress(self, db: LedgerSession, saves: Sequence[tuple[Claim, Progress]]) -> list[bool]:
        places = await lock_places(db, [claim.transfer for claim, _ in saves])
        found = [places.get((claim.transfer.store, claim.transfer.key)) for claim, _ in saves]
        held = [
            at is not None and at.owner == self._me and at.fence == c.fence
            for at, (c, _) in zip(found, saves, strict=True)
        ]
        rows = [(at.id, p) for at, (_, p), good in zip(found, saves, held, strict=True) if at and good]
        await record_progress(db, rows)
        return held

    async def _register(self) -> None:
        """Enter this owner."""
        self._me = secrets.randbits(62) | 1
        await self._db.write(lambda db: db.execute(SQL["count"], self._me, self.owner, [0] * len(STATES)))

    async def _unregister(self) -> None:
        """Free this owner's roles, and its leases but for those that are kept."""

        async def leave(db: LedgerSession) -> None:
            stores, keys = [store for store, _ in self._kept], [encode_key(key) for _, key in self._kept]
            await db.execute(SQL["free"], self._me, list(self._leased), stores, keys)
            await db.execute(SQL["leave"], self._me)
            await db.execute(LEAVE, self.owner)

        await self._db.write(leave)


@dataclass(slots=True)
class _ClaimBatch:
    """One batch of claims."""

    me: int
    name: str  # of this owner
    lease: float
    added: list[tuple[Any, ...]] = field(default_factory=list)
    taken: dict[bytes, tuple[int, int]] = field(default_factory=dict)  # destination and losses, by transfer
    leased: dict[Destination, tuple[LockedPlace, bool]] = field(default_factory=dict)  # True = this owner is new there
    counts: list[int] = field(default_factory=lambda: [0] * len(STATES))

    async def run(
        self, db: LedgerSession, transfers: Sequence[Transfer]
    ) -> tuple[list[Claim | Settled | Wait], set[int]]:
        places = await lock_places(db, transfers)
        open_uploads = await read_open_uploads(db, places)
        known = LockedRecords(await read_transfers(db, transfers, places), places)
        for t in transfers:
            places.setdefault((t.store, t.key), LockedPlace())
        answers = [self._answer(t, known) for t in transfers]
        leased = await self._write(db)
        granted = [a if isinstance(a, (Settled, Wait)) else self._grant(*a, open_uploads) for a in answers]
        return granted, leased

    def _answer(
        self, t: Transfer, known: LockedRecords
    ) -> Settled | Wait | tuple[Transfer, LockedPlace, int, int, bool]:
        """Return the refusal, or what the claim is made of once its fence is known."""
        row, at = known.transfers.get(t.id), known.places[t.store, t.key]
        leased_for = codec.to_seconds(at.left) if at.owner != self.me else 0.0
        if row is not None:
            due_in = None if row.due_in is None else codec.to_seconds(row.due_in)
            refusal = rules.refuse_claim(t, STATES[row.state], row.reason, due_in, leased_for, at.placement)
        else:
            refusal = rules.refuse_busy(t.id, leased_for)
        if refusal:
            return refusal
        taken_over = at.owner not in (0, self.me)
        self.leased.setdefault((t.store, t.key), (at, at.owner != self.me))
        at.owner, at.left = self.me, 0
        if row is None:
            row = known.transfers[t.id] = self._add(t, at)
        else:
            self._take(t, row, at)
        return t, at, row.burned + 1, row.lost, taken_over

    def _grant(
        self,
        t: Transfer,
        at: LockedPlace,
        attempt: int,
        lost: int,
        taken_over: bool,
        uploads: dict[int, tuple[Progress, ...]],
    ) -> Claim:
        placement = rules.select_placement(at.placement, t)
        return Claim(t, at.fence, attempt, lost, placement, uploads.get(at.id, ()), taken_over)

    def _add(self, t: Transfer, at: LockedPlace) -> LockedTransfer:
        self.counts[CLAIMED] += 1
        source_key = None if t.source.key == t.key else encode_key(t.source.key)
        self.added.append((bytes.fromhex(t.id), at, t.route, source_key, codec.pack_transfer(t)))
        return LockedTransfer(owner=self.me)

    def _take(self, t: Transfer, row: LockedTransfer, at: LockedPlace) -> None:
        """Claim a known transfer. One that this owner has claimed stays as it is."""
        if row.state == CLAIMED and row.owner == self.me:
            return
        row.lost += row.state == CLAIMED
        self.counts[row.state] -= 1
        self.counts[CLAIMED] += 1
        row.state, row.owner = CLAIMED, self.me
        self.taken[bytes.fromhex(t.id)] = at.id, row.lost

    async def _write(self, db: LedgerSession) -> set[int]:
        """Return the leased destinations. Raises WriteConflict if another process has added one of them."""
        if not self.leased:
            return set()
        await self._lease(db)
        columns = [list(column) for column in zip(*self.added, strict=True)] or [[]] * 5
        columns[1] = [at.id for at in columns[1]]
        taken = list(self.taken), [place for place, _ in self.taken.values()], [lost for _, lost in self.taken.values()]
        if not await db.execute(SQL["claim"], self.me, *columns, *taken, self.counts):
            await db.execute(SQL["count"], self.me, self.name, self.counts)
        return {at.id for at, _ in self.leased.values()}

    async def _lease(self, db: LedgerSession) -> None:
        places = [at for at, _ in self.leased.values()]
        missing = [at for at in places if not at.id]
        leases = (
            [at.id or None for at in places],
            [is_new for _, is_new in self.leased.values()],
            [encode_key(key) for _, key in self.leased],
            [store for store, _ in self.leased],
        )
        rows = await db.fetch(SQL["lease"], self.me, rules.to_ticks(self.lease), *leases)
        if len(rows) < len(places):
            raise WriteConflict("other workers add the same destinations again and again")
        for number, _, fence in rows:
            if number is not None:
                places[number - 1].fence = fence
        added = sorted((fence, id_) for number, id_, fence in rows if number is None)
        for at, (fence, id_) in zip(missing, added, strict=True):
            at.id, at.fence = id_, fence
