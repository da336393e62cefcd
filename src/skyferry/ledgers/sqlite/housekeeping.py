"""Health and pruning on SQLite."""

from __future__ import annotations

import sqlite3
from collections import Counter

import orjson

from skyferry.ledgers import rules
from skyferry.ledgers.sqlite import refusals
from skyferry.ledgers.sqlite.batch import change_counters
from skyferry.ports import Clock
from skyferry.sql import load_statements
from skyferry.sqlite.file import SqliteFile

SQL = load_statements(__package__, "housekeeping.sql")
BY_SERIAL = ("transfers", "details", "receipts", "failures")  # tables


class SqliteHousekeeping:
    """The `Housekeeping` part of a ledger."""

    _file: SqliteFile
    _clock: Clock

    async def check_writable(self) -> None:
        await self._file.write(lambda db: db.execute(SQL["touch"]).close())

    async def prune(self, older_than: float, limit: int = 1000) -> int:
        ticks = rules.to_ticks(self._clock.time() - older_than)
        return await self._file.write(lambda db: _prune(db, ticks, limit))


def _prune(db: sqlite3.Connection, before: int, limit: int) -> int:
    serials, states = db.execute(SQL["settled_before"], {"before": before, "limit": limit}).fetchone()
    if serials == "[]":
        return refusals.prune_refusals(db, before, limit)
    (destinations,) = db.execute(SQL["destinations_of"], {"batch": serials}).fetchone()
    for table in BY_SERIAL:
        db.execute(SQL[f"prune_{table}"], {"batch": serials})
    db.execute(SQL["prune_destinations"], {"places": destinations})
    pruned = Counter(orjson.loads(states))
    change_counters(db, {f"state {number}": -count for number, count in pruned.items()})
    return pruned.total()
