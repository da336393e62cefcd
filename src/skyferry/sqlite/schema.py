"""The schema of a SQLite file: its version, and the steps that it lacks."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from skyferry.sql.schema_steps import SchemaHistory, SchemaStep, SchemaVersion

_TABLES = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
_CREATE = (
    "CREATE TABLE IF NOT EXISTS schema_version "
    "(id INTEGER PRIMARY KEY CHECK (id = 1), number INTEGER NOT NULL, compatible_from INTEGER NOT NULL)"
)
_READ = "SELECT number, compatible_from FROM schema_version"
_WRITE = "INSERT OR REPLACE INTO schema_version (id, number, compatible_from) VALUES (1, ?, ?)"
Permit = Callable[[sqlite3.Connection, SchemaStep], None]  # raises an error if a step must wait


def connect(path: Path, history: SchemaHistory, **options: Any) -> sqlite3.Connection:
    """Open a connection to a file that may be written. Each commit is durable.

    Raises sqlite3.Error, and the history's error before it changes a file of something else.
    """
    connection: sqlite3.Connection = sqlite3.connect(path, timeout=30.0, isolation_level=None, **options)
    try:
        read_schema_version(connection, history, str(path))
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
    except BaseException:  # an interrupt too: the caller has no connection to close
        connection.close()
        raise
    return connection


def list_tables(db: sqlite3.Connection) -> set[str]:
    """Return the names of all tables."""
    return {name for (name,) in db.execute(_TABLES)}


def read_schema_version(db: sqlite3.Connection, history: SchemaHistory, where: str) -> SchemaVersion:
    """Return the version of a file. One from before there were versions has none, like an empty one: steps repair it.

    Raises the history's error if the file belongs to something else.
    """
    tables = list_tables(db)
    if tables and history.marker not in tables:
        raise history.error(
            f"the file has no table {history.marker!r}: it is not of Skyferry's {history.kind}",
            where=where,
            hint="Correct the path in the URL.",
        )
    return _read_version(db) if "schema_version" in tables else SchemaVersion()


def _read_version(db: sqlite3.Connection) -> SchemaVersion:
    """Read the numbers, which a damaged page may lack. Raises sqlite3.Error."""
    row = db.execute(_READ).fetchone()
    if row is None or not all(isinstance(number, int) for number in row):
        damage = sqlite3.DatabaseError("the version of the schema is damaged")
        damage.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise damage
    return SchemaVersion(*row)


def apply_next_step(
    db: sqlite3.Connection,
    history: SchemaHistory,
    where: str,
    *,
    contract: bool = False,
    permit: Permit = lambda db, step: None,
) -> SchemaStep | None:
    """Apply the first pending step in one transaction, and return it; None if there is none. A process waits for another.

    Raises the history's error if the file is too new for this program, or belongs to something else.
    """
    at = read_schema_version(db, history, where)
    history.check_compatible(at, where)
    if history.find_next(at, contract=contract) is None:
        return None  # the usual case: without a lock
    db.execute("BEGIN IMMEDIATE")
    try:
        at = read_schema_version(db, history, where)
        history.check_compatible(at, where)
        if (step := history.find_next(at, contract=contract)) is not None:
            permit(db, step)
            _apply(db, step.sql)
            after = step.advance(at)
            db.execute(_CREATE)
            db.execute(_WRITE, (after.number, after.compatible_from))
        db.execute("COMMIT")
    except BaseException:  # also what `permit` raises
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
    return step


def _apply(db: sqlite3.Connection, sql: str) -> None:
    for statement in _split_statements(sql):
        try:
            db.execute(statement)
        except sqlite3.OperationalError as error:
            if not str(error).startswith("duplicate column name"):  # in a file from before there were versions
                raise


def _split_statements(sql: str) -> Iterator[str]:
    """Iterate over the statements. `executescript` would commit before each script."""
    statement = ""
    for part in sql.split(";"):
        statement += f"{part};"
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
