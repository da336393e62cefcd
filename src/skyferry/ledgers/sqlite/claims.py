"""Claims on SQLite. A batch is read whole, decided, and written whole.

Claims and renewals are not flushed to the disk: a power failure ends every process that could have one.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import Counter
from collections.abc import Sequence
from typing import Any

from skyferry.ledgers import codec, rules
from skyferry.ledgers.codec import STATES, pack_json
from skyferry.ledgers.sqlite import uploads
from skyferry.ledgers.sqlite.batch import (
    CLAIMED,
    DestinationRecord,
    Numbers,
    Snapshot,
    TransferRecord,
    change_counts,
    read_snapshot,
)
from skyferry.ledgers.sqlite.schema import HISTORY
from skyferry.ledgers.sqlite.settlements import record_settlements
from skyferry.model import Claim, Progress, Transfer
from skyferry.ports import Clock, Settled, Settlement, Wait
from skyferry.sql import load_statements
from skyferry.sqlite.file import SqliteFile
from skyferry.sqlite.owners import OwnerLock
from skyferry.sqlite.statements import read_rows, write_rows

SQL = load_statements(__package__, "claims.sql")
SWEEP = 2.0  # seconds between looks for dead owners
Rows = list[tuple[Any, ...]]


class SqliteClaims:
    """The `Claims` part of a ledger, and the write of `UploadLog` that needs a claim."""

    owner: str
    lease: float
    _file: SqliteFile
    _clock: Clock

    def _register(self, db: sqlite3.Connection, presence: OwnerLock) -> None:
        """Enter this owner, and free the leases of dead ones."""
        dead = presence.find_dead()
        self._me = db.execute(SQL["enter"], {"name": self.owner, "program": HISTORY.known}).lastrowid or 0
        _remove_owners(db, [*dead, self.owner], self._me)
        presence.forget(dead)
        self._numbers = Numbers()
        self._waits = False  # another owner had a key that this one wanted
        self._swept = self._clock.monotonic()

    async def claim(self, transfers: Sequence[Transfer]) -> list[Claim | Settled | Wait]:
        if self._waits and self._clock.monotonic() >= self._swept + SWEEP:
            await self._sweep()
        now = self._clock.time()
        answers = await self._file.write(lambda db: self._claim(db, transfers, now), flush=False)
        self._waits = self._waits or any(isinstance(answer, Wait) and answer.busy for answer in answers)
        return answers

    def _claim(self, db: sqlite3.Connection, transfers: Sequence[Transfer], now: float) -> list[Claim | Settled | Wait]:
        self._numbers.begin(self._file.rollbacks)
        return _Claiming(db, self._me, now, self.lease, self._numbers).run(transfers)

    async def renew(self, claims: Sequence[Claim]) -> list[Claim]:
        until = rules.to_ticks(self._clock.time() + self.lease)
        return await self._file.write(lambda db: _renew(db, claims, until), flush=False)

    async def keep(self, claims: Sequence[Claim]) -> None:
        """Keep nothing: other processes free the keys of one that has ended."""

    async def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        now = self._clock.time()
        return await self._file.write(lambda db: record_settlements(db, settlements, now))

    async def save_progress(self, saves: Sequence[tuple[Claim, Progress]]) -> list[bool]:
        now = self._clock.time()
        return await self._file.write(lambda db: _save_progress(db, saves, now))

    async def _sweep(self) -> bool:
        """Free the leases and roles of dead owners. Return True if there were any."""
        self._waits, self._swept = False, self._clock.monotonic()
        if dead := await asyncio.to_thread(self._file.presence.find_dead):
            await self._file.write(lambda db: _remove_owners(db, dead, self._me))
            await asyncio.to_thread(self._file.presence.forget, dead)
        return bool(dead)

    async def _unregister(self) -> None:
        """Free this owner's leases. Programs of version 1 read the count of claimed transfers, which this one did not keep."""

        def operation(db: sqlite3.Connection) -> None:
            _remove_owners(db, [self.owner], 0)
            db.execute(SQL["count_claimed"])

        await self._file.write(operation)


def _remove_owners(db: sqlite3.Connection, names: Sequence[str], but: int) -> None:
    """Remove owners with their leases and roles, except for the one registered as `but`."""
    for statement in ("leave", "forget_workers", "free_roles", "forget"):
        db.execute(SQL[statement], {"names": pack_json(names), "but": but})


class _Claiming:
    """One batch of claims."""

    def __init__(self, db: sqlite3.Connection, me: int, now: float, lease: float, numbers: Numbers) -> None:
        self._db, self._me = db, me
        self._at, self._until = rules.to_ticks(now), rules.to_ticks(now + lease)
        self._numbers = numbers
        self._counts = Counter[int]()  # changes by state
        self._destinations: Rows = []
        self._rows: Rows = []
        self._details: Rows = []
        self._taken: Rows = []
        self._leases: dict[int, int] = {}  # fence by destination

    def run(self, transfers: Sequence[Transfer]) -> list[Claim | Settled | Wait]:
        known = read_snapshot(self._db, transfers)
        open_uploads = uploads.of_destinations(self._db, [each.id for each in known.destinations.values()], self._at)
        for each in known.destinations.values():
            each.uploads = open_uploads.get(each.id, ())
        answers = [self._answer(t, known) for t in transfers]
        write_rows(self._db, SQL["add_destinations"], self._destinations)
        write_rows(self._db, SQL["add_transfers"], self._rows)
        write_rows(self._db, SQL["add_details"], self._details)
        write_rows(self._db, SQL["take_transfers"], self._taken)
        write_rows(self._db, SQL["lease"], [(at, fence, self._me, self._until) for at, fence in self._leases.items()])
        change_counts(self._db, self._counts)
        return answers

    def _answer(self, t: Transfer, known: Snapshot) -> Claim | Settled | Wait:
        row, at = known.rows.get(t.id), known.destinations.get((t.store, t.key))
        leased_for = codec.to_seconds(at.until - self._at) if at and at.owner != self._me else 0.0
        if row is not None:
            due_in = None if row.due_at is None else codec.to_seconds(row.due_at - self._at)
            placement = at.placement if at else None
            refusal = rules.refuse_claim(t, STATES[row.state], row.reason, due_in, leased_for, placement)
        else:
            refusal = rules.refuse_busy(t.id, leased_for)
        if refusal:
            return refusal
        if at is None:
            at = known.destinations[t.store, t.key] = self._add_destination(t)
        taken_over = at.owner not in (0, self._me)
        self._lease(at)
        if row is None:
            row = known.rows[t.id] = self._add_row(t, at)
        else:
            self._take(row)
        placement = rules.select_placement(at.placement, t)
        return Claim(t, at.fence, row.burned + 1, row.lost, placement, at.uploads, taken_over)

    def _add_destination(self, t: Transfer) -> DestinationRecord:
        number = self._numbers.take(self._db, "place")
        self._destinations.append((number, t.key, t.store))
        return DestinationRecord(number)

    def _lease(self, at: DestinationRecord) -> None:
        if at.owner != self._me:
            at.owner, at.fence, at.until = self._me, self._numbers.take_fence(self._db), 0
        if at.until < self._until:
            at.until = self._until
            self._leases[at.id] = at.fence

    def _add_row(self, t: Transfer, at: DestinationRecord) -> TransferRecord:
        row = TransferRecord(self._numbers.take(self._db, "serial"), owner=self._me)
        source_key = None if t.source.key == t.key else t.source.key
        ids = codec.split_id(t.id)
        self._rows.append((row.serial, *ids, at.id, t.route, source_key, CLAIMED, self._me, self._at, self._at))
        self._details.append((row.serial, codec.pack_transfer(t)))
        return row

    def _take(self, row: TransferRecord) -> None:
        """Claim a known row. One that this owner has claimed stays as it is."""
        if row.state == CLAIMED and row.owner == self._me:
            return
        row.lost += row.state == CLAIMED
        self._counts[row.state] -= 1
        row.state, row.owner = CLAIMED, self._me
        self._taken.append((row.serial, row.lost, self._me, self._at))


def _renew(db: sqlite3.Connection, claims: Sequence[Claim], until: int) -> list[Claim]:
    held = _find_held(db, claims)
    db.execute(SQL["extend"], {"places": pack_json([at for at in held if at is not None]), "until": until})
    return [claim for claim, at in zip(claims, held, strict=True) if at is None]


def _find_held(db: sqlite3.Connection, claims: Sequence[Claim]) -> list[int | None]:
    """Return the destination of each claim; None for a lost one."""
    return read_rows(db, SQL["held"], [(c.transfer.key, c.transfer.store, c.fence) for c in claims])


def _save_progress(db: sqlite3.Connection, saves: Sequence[tuple[Claim, Progress]], now: float) -> list[bool]:
    held = _find_held(db, [claim for claim, _ in saves])
    uploads.record_progress(
        db, [(at, progress) for at, (_, progress) in zip(held, saves, strict=True) if at is not None], now
    )
    return [at is not None for at in held]
