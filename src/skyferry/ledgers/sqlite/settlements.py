"""Settlements on SQLite."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Sequence
from typing import Any

from skyferry.ledgers import codec, rules
from skyferry.ledgers.codec import NUMBER, pack_json
from skyferry.ledgers.sqlite import dead_letters, uploads
from skyferry.ledgers.sqlite.batch import CLAIMED, Snapshot, TransferRecord, change_counts, read_snapshot
from skyferry.ledgers.sqlite.queries import read_failures
from skyferry.model import Placement, Transfer
from skyferry.ports import Dead, Done, Outcome, Settlement
from skyferry.sql import load_statements
from skyferry.sqlite.statements import write_rows

SQL = load_statements(__package__, "settlements.sql")


def record_settlements(db: sqlite3.Connection, settlements: Sequence[Settlement], now: float) -> list[bool]:
    """See `Claims.settle`."""
    return _Settling(db, now).run(settlements)


class _Settling:
    """One batch of settlements."""

    def __init__(self, db: sqlite3.Connection, now: float) -> None:
        self._db, self._at = db, rules.to_ticks(now)
        self._counts = Counter[int]()  # changes by state
        self._rows: list[tuple[Any, ...]] = []
        self._receipts: list[tuple[Any, ...]] = []
        self._failures: list[tuple[Any, ...]] = []
        self._placements: dict[int, Placement] = {}  # by destination
        self._dead: list[tuple[int, Transfer, Dead]] = []
        self._freed: set[int] = set()
        self._closed: list[tuple[int, str]] = []  # destination and upload

    def run(self, settlements: Sequence[Settlement]) -> list[bool]:
        db, known = self._db, read_snapshot(self._db, [s.claim.transfer for s in settlements])
        answers = [self._settle(s, known) for s in settlements]
        write_rows(db, SQL["settle"], self._rows)
        write_rows(db, SQL["add_receipts"], self._receipts)
        write_rows(db, SQL["place"], [_pack_placement(at, p) for at, p in self._placements.items()])
        write_rows(db, SQL["add_failures"], self._failures)
        uploads.close_of_destinations(db, self._closed)
        db.execute(SQL["free"], {"places": pack_json(list(self._freed))})
        if self._dead:
            failures = read_failures(db, [serial for serial, _, _ in self._dead])
            letters = [(n, rules.make_letter(t, dead, tuple(failures[n]))) for n, t, dead in self._dead]
            dead_letters.insert_letters(db, letters)
        change_counts(db, self._counts)
        return answers

    def _settle(self, s: Settlement, known: Snapshot) -> bool:
        t = s.claim.transfer
        row, at = known.rows.get(t.id), known.destinations.get((t.store, t.key))
        if at is None or at.fence != s.claim.fence:
            return False
        if s.last:
            self._freed.add(at.id)
        if row is None or row.state != CLAIMED:
            return False
        self._record(row, s.outcome)
        self._closed += [(at.id, name) for name in s.closed]
        if placement := rules.move_placement(s.outcome, at.placement, t):
            self._placements[at.id] = at.placement = placement
        if isinstance(s.outcome, Done):
            self._receipts.append((row.serial, codec.pack_receipt(s.outcome.receipt)))
        elif isinstance(s.outcome, Dead):
            self._dead.append((row.serial, t, s.outcome))
        return True

    def _record(self, row: TransferRecord, outcome: Outcome) -> None:
        state, reason, delay, failure = rules.apply_outcome(outcome)
        row.state = NUMBER[state]
        self._counts[row.state] += 1
        if failure:
            row.burned += failure.counts_as_attempt
            self._failures.append((row.serial, codec.pack_failure(failure)))
        due = None if delay is None else self._at + rules.to_ticks(delay)
        self._rows.append((row.serial, row.state, reason, due, row.burned, self._at))


def _pack_placement(destination: int, p: Placement) -> tuple[Any, ...]:
    return destination, None if p.deleted else p.source.bucket, codec.pack_placement(p)
