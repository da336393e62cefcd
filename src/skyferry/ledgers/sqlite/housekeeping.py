"""Health and pruning on SQLite, and events that no route takes."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Sequence

import orjson

from skyferry.ledgers import codec, rules
from skyferry.ledgers.sqlite.batch import change_counts
from skyferry.ports import Clock, Refusal
from skyferry.sql import load_statements
from skyferry.sqlite.file import SqliteFile
from skyferry.sqlite.statements import write_rows

SQL = load_statements(__package__, "housekeeping.sql")
REFUSALS = load_statements(__package__, "refusals.sql")
BY_SERIAL = ("transfers", "details", "receipts", "failures")  # tables


class SqliteHousekeeping:
    """The `Housekeeping` part of a ledger."""

    _file: SqliteFile
    _clock: Clock

    async def check_writable(self) -> None:
        await self._file.check_writable()

    async def prune(self, older_than: float, limit: int = 1000) -> int:
        ticks = rules.to_ticks(self._clock.time() - older_than)
        return await self._file.write(lambda db: _prune(db, ticks, limit))


def _prune(db: sqlite3.Connection, before: int, limit: int) -> int:
    serials, states = db.execute(SQL["settled_before"], {"before": before, "limit": limit}).fetchone()
    if serials == "[]":
        return _prune_refusals(db, before, limit)
    (destinations,) = db.execute(SQL["destinations_of"], {"batch": serials}).fetchone()
    for table in BY_SERIAL:
        db.execute(SQL[f"prune_{table}"], {"batch": serials})
    db.execute(SQL["prune_destinations"], {"places": destinations})
    pruned = Counter(orjson.loads(states))
    change_counts(db, {number: -count for number, count in pruned.items()})
    return pruned.total()


class SqliteRefusals:
    """The `RefusalLog` part of a ledger."""

    _file: SqliteFile

    async def add_refusals(self, refusals: Sequence[Refusal]) -> None:
        rows = [(r.source.key, _bucket(r), rules.to_ticks(r.at), codec.pack_refusal(r)) for r in refusals]
        await self._file.write(lambda db: write_rows(db, REFUSALS["add"], rows), flush=False)

    async def list_refusals(self, key: str) -> list[Refusal]:
        return await self._file.read(lambda db: _list(db, key))


def _list(db: sqlite3.Connection, key: str) -> list[Refusal]:
    return [
        codec.unpack_refusal(text) for text in orjson.loads(db.execute(REFUSALS["list"], {"key": key}).fetchone()[0])
    ]


def _prune_refusals(db: sqlite3.Connection, before: int, limit: int) -> int:
    """Forget the oldest refusals. Return the count."""
    return db.execute(REFUSALS["prune"], {"before": before, "limit": limit}).rowcount


def _bucket(refusal: Refusal) -> str:
    return f"{refusal.source.provider}://{refusal.source.bucket}"
