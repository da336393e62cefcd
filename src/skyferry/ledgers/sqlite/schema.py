"""The schema of the ledger: its steps, its version, and the programs that use it."""

from __future__ import annotations

import sqlite3
from contextlib import closing, suppress
from functools import partial
from pathlib import Path

from skyferry.errors import LedgerError, LedgerIncompatible
from skyferry.ledgers.sqlite.queries import count_states
from skyferry.model import State
from skyferry.ports.ledger import LedgerStatus
from skyferry.sql.schema_steps import SchemaStep, SchemaVersion, load_history
from skyferry.sqlite.file import translate_error
from skyferry.sqlite.log import list_parts, require_own_log
from skyferry.sqlite.opened import require_one_name, require_same_files
from skyferry.sqlite.owners import OwnerLock, find_users, owners_folder
from skyferry.sqlite.readonly import read_unchanged
from skyferry.sqlite.schema import apply_next_step, connect, list_tables, read_schema_version

HISTORY = load_history(__package__, "ledger", "transfers", LedgerIncompatible)
PROCESSES = {
    "leases",
    "owners",
    "workers",
    "roles",
    "rates",
    "breakers",
}  # tables about processes, of which a copy has none
_OLDER = "SELECT name FROM owners WHERE program < ?"


def read_status(path: Path) -> LedgerStatus:
    """See `LedgerMaintenance.read_status`."""
    try:
        at, transfers = read_unchanged(path, partial(_read_counts, path))
        size = sum(part.stat().st_size for part in _list_files(path))
    except (sqlite3.Error, OSError) as error:
        raise translate_error(error, LedgerError, path) from error
    pending = tuple(map(str, HISTORY.list_pending(at)))
    engine = f"SQLite {sqlite3.sqlite_version}"
    return LedgerStatus(engine, at.number, at.compatible_from, HISTORY.known, pending, transfers, size)


def _read_counts(path: Path, db: sqlite3.Connection) -> tuple[SchemaVersion, dict[State, int] | None]:
    """Return the version, and the transfers by state if this program can read them."""
    at = read_schema_version(db, HISTORY, str(path))
    readable = at.compatible_from <= HISTORY.known and "counters" in list_tables(db)
    return at, count_states(db) if readable else None


def require_known_schema(path: Path) -> None:
    """Raise LedgerIncompatible if the file is too new for this program. A damaged file, or one of something else, passes."""
    at = SchemaVersion()
    with suppress(LedgerIncompatible, sqlite3.Error, OSError):
        at = read_unchanged(path, lambda db: read_schema_version(db, HISTORY, str(path)))
    HISTORY.check_compatible(at, str(path))


def apply_pending_step(path: Path, owner: str) -> SchemaStep | None:
    """Apply the first pending step, and return it; None if there is none. Creates the file. Raises LedgerError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with closing(OwnerLock(owners_folder(path), owner)) as presence, presence.take_first_turn():
            require_one_name(path, LedgerError)
            require_same_files(path, presence, LedgerError)
            require_own_log(path)
            path.touch(0o600)
            with closing(connect(path, HISTORY)) as db:
                permit = partial(_check_older_programs, path=path)
                return apply_next_step(db, HISTORY, str(path), contract=True, permit=permit)
    except (sqlite3.Error, OSError) as error:
        raise translate_error(error, LedgerError, path) from error


def forget_processes(db: sqlite3.Connection) -> None:
    """Delete the leases, workers, roles and shared limits of a copy, whatever its version."""
    for table in PROCESSES & list_tables(db):
        db.execute(f"DELETE FROM {table}")  # noqa: S608 - constants


def _check_older_programs(db: sqlite3.Connection, step: SchemaStep, path: Path) -> None:
    """Raise LedgerError before a contraction while an older program has the file open."""
    if not step.contracts:
        return
    older = {name for (name,) in db.execute(_OLDER, (step.number,))}
    if live := sorted(older.intersection(find_users(path))):
        hint = "Stop or update it, then run `skyferry ledger migrate` again."
        raise LedgerError(f"step {step} waits for an older program: {live[0]}", where=str(path), hint=hint)


def _list_files(path: Path) -> list[Path]:
    return [part for part in list_parts(path) if part.exists()]
