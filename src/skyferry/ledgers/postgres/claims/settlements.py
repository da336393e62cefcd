"""Settlements on PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field
from typing import Any

from skyferry.frozen import dataclass
from skyferry.ledgers import codec, rules
from skyferry.ledgers.codec import NUMBER, STATES
from skyferry.ledgers.postgres.claims.snapshot import (
    CLAIMED,
    LockedPlace,
    LockedRecords,
    LockedTransfer,
    lock_places,
    read_transfers,
)
from skyferry.ledgers.postgres.database import LedgerSession
from skyferry.ledgers.postgres.dead_letters import insert_letters
from skyferry.ledgers.postgres.queries import read_failures
from skyferry.model import Placement, Transfer
from skyferry.ports import Dead, Done, Settlement
from skyferry.sql import load_statements

SQL = load_statements("skyferry.ledgers.postgres", "claims.sql")


@dataclass(slots=True)
class SettlementBatch:
    """One batch of settlements."""

    me: int
    name: str  # of this owner
    settled: list[tuple[Any, ...]] = field(default_factory=list)
    failures: list[tuple[bytes, str]] = field(default_factory=list)
    placements: dict[int, Placement] = field(default_factory=dict)  # by destination
    dead: list[tuple[Transfer, Dead]] = field(default_factory=list)
    freed: set[int] = field(default_factory=set)
    closed: list[tuple[int, str]] = field(default_factory=list)  # destination and upload
    counts: list[int] = field(default_factory=lambda: [0] * len(STATES))

    async def run(self, db: LedgerSession, settlements: Sequence[Settlement]) -> tuple[list[bool], set[int]]:
        """Return the answers, and the destinations that are free now."""
        transfers = [s.claim.transfer for s in settlements]
        places = await lock_places(db, transfers)
        known = LockedRecords(await read_transfers(db, transfers, places), places)
        answers = [self._settle(s, known) for s in settlements]
        if self.dead:
            before = await read_failures(db, [bytes.fromhex(t.id) for t, _ in self.dead])
            letters = [(t, rules.make_letter(t, d, (*before.get(t.id, ()), d.failure))) for t, d in self.dead]
            await insert_letters(db, [(bytes.fromhex(t.id), letter) for t, letter in letters])
        if self.settled or self.freed:
            await self._write(db)
        return answers, self.freed

    def _settle(self, s: Settlement, known: LockedRecords) -> bool:
        t = s.claim.transfer
        row, at = known.transfers.get(t.id), known.places.get((t.store, t.key))
        if at is None or at.owner != self.me or at.fence != s.claim.fence:
            return False
        if s.last:
            self.freed.add(at.id)
        if row is None or row.state != CLAIMED:
            return False
        self._record(row, at, s)
        self.closed += [(at.id, name) for name in s.closed]
        if placement := rules.move_placement(s.outcome, at.placement, t):
            self.placements[at.id] = at.placement = placement
        if isinstance(s.outcome, Dead):
            self.dead.append((t, s.outcome))
        return True

    def _record(self, row: LockedTransfer, at: LockedPlace, s: Settlement) -> None:
        state, reason, delay, failure = rules.apply_outcome(s.outcome)
        id_ = bytes.fromhex(s.claim.transfer.id)
        row.state = NUMBER[state]
        self.counts[CLAIMED] -= 1
        self.counts[row.state] += 1
        if failure:
            row.burned += failure.counts_as_attempt
            self.failures.append((id_, codec.pack_failure(failure)))
        receipt = codec.pack_receipt(s.outcome.receipt) if isinstance(s.outcome, Done) else None
        ticks = None if delay is None else rules.to_ticks(delay)
        self.settled.append((id_, at.id, row.state, reason, ticks, row.burned, receipt))

    async def _write(self, db: LedgerSession) -> None:
        touched = [*self.placements, *(self.freed - self.placements.keys())]
        placed = [self.placements.get(at) for at in touched]
        texts = [codec.pack_placement(p) if p else None for p in placed]
        buckets = [p.source.bucket if p and not p.deleted else None for p in placed]
        known = await db.execute(
            SQL["settle"],
            self.me,
            *_columns(self.settled, 7),
            touched,
            [at in self.freed for at in touched],
            texts,
            buckets,
            *_columns(self.failures, 2),
            *_columns(self.closed, 2),
            self.counts,
        )
        if not known:
            await db.execute(SQL["count"], self.me, self.name, self.counts)


def _columns(rows: Sequence[tuple[Any, ...]], count: int) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)] or [[] for _ in range(count)]
