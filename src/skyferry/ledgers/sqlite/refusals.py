"""Events that no route takes on SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

import orjson

from skyferry.ledgers import codec, rules
from skyferry.ports import Refusal
from skyferry.sql import load_statements
from skyferry.sqlite.file import SqliteFile
from skyferry.sqlite.statements import write_rows

SQL = load_statements(__package__, "refusals.sql")


class SqliteRefusals:
    """The `RefusalLog` part of a ledger."""

    _file: SqliteFile

    async def add_refusals(self, refusals: Sequence[Refusal]) -> None:
        rows = [(r.source.key, _bucket(r), rules.to_ticks(r.at), codec.pack_refusal(r)) for r in refusals]
        await self._file.write(lambda db: write_rows(db, SQL["add"], rows), flush=False)

    async def list_refusals(self, key: str) -> list[Refusal]:
        return await self._file.read(lambda db: _list(db, key))


def _list(db: sqlite3.Connection, key: str) -> list[Refusal]:
    return [codec.unpack_refusal(text) for text in orjson.loads(db.execute(SQL["list"], {"key": key}).fetchone()[0])]


def prune_refusals(db: sqlite3.Connection, before: int, limit: int) -> int:
    """Forget the oldest refusals. Return the count."""
    return db.execute(SQL["prune"], {"before": before, "limit": limit}).rowcount


def _bucket(refusal: Refusal) -> str:
    return f"{refusal.source.provider}://{refusal.source.bucket}"
