"""SQL in .sql files: named statements, and statements over batches of rows."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from importlib.resources import files
from itertools import chain
from types import MappingProxyType
from typing import Any

import orjson

MOST = 256  # rows in one statement
_COMMENTS = re.compile(r"(?:--.*\n)*")


def read_sql(package: str, file: str) -> str:
    """Return the text of a file in the folder `sql` of a package."""
    return files(package).joinpath("sql", file).read_text("utf-8")


def load_statements(package: str, file: str) -> Mapping[str, str]:
    """Return the statements of a file by name. Each begins with a line `-- name: NAME`; comments may follow that line."""
    _, *sections = read_sql(package, file).split("-- name: ")
    named = (section.partition("\n") for section in sections)
    return MappingProxyType({name.strip(): _COMMENTS.sub("", sql, count=1).strip() for name, _, sql in named})


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
