"""Statements over batches of rows."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any

import orjson

MOST = 256  # rows in one statement


def write_rows(db: sqlite3.Connection, statement: str, rows: Sequence[tuple[Any, ...]]) -> None:
    """Run a statement with `VALUES :rows`; do nothing without rows."""
    for sql, values in _chunks(statement, rows):
        db.execute(sql, values)


def read_rows(db: sqlite3.Connection, statement: str, rows: Sequence[tuple[Any, ...]]) -> list[Any]:
    """Return the result of a query with `VALUES :rows`, which is one JSON array."""
    found = [orjson.loads(db.execute(sql, values).fetchone()[0]) for sql, values in _chunks(statement, rows)]
    return found[0] if len(found) == 1 else list(chain.from_iterable(found))


def _chunks(statement: str, rows: Sequence[tuple[Any, ...]]) -> Iterator[tuple[str, list[Any]]]:
    """Split rows into powers of two, the largest first: few distinct statements, which SQLite keeps prepared."""
    start = 0
    while left := len(rows) - start:
        size = min(MOST, 1 << left.bit_length() - 1)
        yield _expand(statement, size, len(rows[start])), list(chain.from_iterable(rows[start : start + size]))
        start += size


@lru_cache(maxsize=256)
def _expand(statement: str, rows: int, columns: int) -> str:
    row = f"({', '.join('?' * columns)})"
    return statement.replace(":rows", ", ".join([row] * rows))
