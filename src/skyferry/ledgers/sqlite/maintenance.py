"""A ledger's file from outside: whether it is whole, a copy of it, and what can be saved of a damaged one. Blocking."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

from skyferry.errors import LedgerError, SkyferryError
from skyferry.ledgers.sqlite import codec
from skyferry.ledgers.sqlite.codec import STATES
from skyferry.ports import DeadLetter
from skyferry.sqlite.file import connect_readonly, examine

_RULES = (
    ("transfers have no details", "SELECT count(*) FROM transfers WHERE serial NOT IN (SELECT serial FROM details)"),
    ("transfers have no destination key", "SELECT count(*) FROM transfers WHERE place NOT IN (SELECT id FROM places)"),
    (
        "placements have no destination key",
        "SELECT count(*) FROM placements WHERE place NOT IN (SELECT id FROM places)",
    ),
    ("leases have no destination key", "SELECT count(*) FROM leases WHERE place NOT IN (SELECT id FROM places)"),
    ("uploads have no destination key", "SELECT count(*) FROM uploads WHERE place NOT IN (SELECT id FROM places)"),
)
_PLACED = "SELECT EXISTS (SELECT 1 FROM placements) OR EXISTS (SELECT 1 FROM transfers)"
_COUNTED = "SELECT state, count(*) FROM transfers GROUP BY state"
_COUNTERS = "SELECT CAST(substr(name, 7) AS INTEGER), value FROM counters WHERE name LIKE 'state %'"


def check(path: Path) -> list[str]:
    """What is wrong with a ledger's file: as SQLite finds it, and whether its tables agree. A service may have it open."""
    if problems := examine(path):
        return problems
    try:
        with closing(connect_readonly(path)) as db:
            db.execute("BEGIN")  # all of it is seen at one moment
            return [*_disagreements(db)]
    except sqlite3.Error as problem:
        return [f"it is no ledger: {problem}"]


def holds_anything(path: Path) -> bool:
    """Whether a whole ledger remembers a transfer or a placement."""
    with closing(connect_readonly(path)) as db:
        return bool(db.execute(_PLACED).fetchone()[0])


def backup(path: Path, target: Path) -> int:
    """Copy a ledger as it is at one moment, durably, to a new file; returns its size in bytes. A service may have it open.

    Leases are left out: no process holds them where the copy is used. Raises LedgerError; SkyferryError if there is
    such a file already.
    """
    part = target.with_name(f"{target.name}.part")
    part.unlink(missing_ok=True)
    try:
        with closing(connect_readonly(path)) as db, closing(sqlite3.connect(part, isolation_level=None)) as copy:
            part.chmod(0o600)
            db.backup(copy)
            copy.execute("PRAGMA journal_mode=DELETE")  # one file, without a -wal beside it
            copy.executescript("DELETE FROM leases; DELETE FROM owners;")
        if problems := check(part):
            raise LedgerError(
                f"the copy is not whole: {problems[0]}", where=str(path), hint="see `skyferry ledger check`"
            )
        with part.open("rb") as file:
            os.fsync(file.fileno())
        os.link(part, target)  # never over another file
        return target.stat().st_size
    except FileExistsError as error:
        raise SkyferryError("there is such a file already", where=str(target), hint="give another name") from error
    except (sqlite3.Error, OSError) as error:
        raise LedgerError(
            f"it cannot be copied: {error}", where=str(path), hint="see `skyferry ledger check`"
        ) from error
    finally:
        part.unlink(missing_ok=True)


def salvage(path: Path) -> Iterator[DeadLetter]:
    """The dead letters of a damaged ledger that can be read still."""
    with suppress(sqlite3.Error), closing(connect_readonly(path)) as db:
        for serial in _serials(db):
            with suppress(sqlite3.Error, ValueError, TypeError, LookupError):  # on a damaged page
                if row := db.execute("SELECT letter FROM letters WHERE serial = ?", (serial,)).fetchone():
                    yield codec.unpack_letter(row[0], None)


def _serials(db: sqlite3.Connection) -> Iterator[int]:
    with suppress(sqlite3.Error):
        for (serial,) in db.execute("SELECT serial FROM letters ORDER BY serial").fetchall():
            yield serial


def _disagreements(db: sqlite3.Connection) -> Iterator[str]:
    for what, query in _RULES:
        if count := db.execute(query).fetchone()[0]:
            yield f"{count} {what}"
    counted, counters = dict(db.execute(_COUNTED)), dict(db.execute(_COUNTERS))
    for number, state in enumerate(STATES):
        if counted.get(number, 0) != counters.get(number, 0):
            yield f"{counted.get(number, 0)} transfers are {state}, and {counters.get(number, 0)} were counted"
