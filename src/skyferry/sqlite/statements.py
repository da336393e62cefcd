"""SQL lives in .sql files: statements under `-- name:` lines."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from importlib.resources import files
from itertools import chain
from types import MappingProxyType
from typing import Any

import orjson

MOST = 256  # rows in one statement


def text(file: str) -> str:
    """A whole file of this package."""
    return files("skyferry.ledgers.sqlite").joinpath("sql", file).read_text("utf-8")


def named(file: str) -> Mapping[str, str]:
    """The statements of a file of this package, by name."""
    _, *sections = text(file).split("-- name: ")
    return MappingProxyType({name.strip(): sql.strip() for name, _, sql in (s.partition("\n") for s in sections)})


def write(db: sqlite3.Connection, statement: str, rows: Sequence[tuple[Any, ...]]) -> None:
    """Run a statement with `VALUES :rows`, if there are any."""
    for sql, values in _chunks(statement, rows):
        db.execute(sql, values)


def read(db: sqlite3.Connection, statement: str, rows: Sequence[tuple[Any, ...]]) -> list[Any]:
    """What a query with `VALUES :rows` answers, which is one JSON array."""
    found = [orjson.loads(db.execute(sql, values).fetchone()[0]) for sql, values in _chunks(statement, rows)]
    return found[0] if len(found) == 1 else list(chain.from_iterable(found))


def _chunks(statement: str, rows: Sequence[tuple[Any, ...]]) -> Iterator[tuple[str, list[Any]]]:
    """Powers of two, the largest first: so few different statements that SQLite has them ready."""
    start = 0
    while left := len(rows) - start:
        size = min(MOST, 1 << left.bit_length() - 1)
        yield _sized(statement, size, len(rows[start])), list(chain.from_iterable(rows[start : start + size]))
        start += size


@lru_cache(maxsize=256)
def _sized(statement: str, rows: int, columns: int) -> str:
    row = f"({', '.join('?' * columns)})"
    return statement.replace(":rows", ", ".join([row] * rows))
