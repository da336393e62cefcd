"""A ledger's file from outside: check it, copy it, rebuild it."""

from __future__ import annotations

import asyncio
import errno
import os
import sqlite3
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, closing, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import orjson

from skyferry.errors import LedgerError, SkyferryError
from skyferry.ledgers import codec, rules
from skyferry.ledgers.codec import STATES
from skyferry.ledgers.sqlite.dead_letters import SQL as LETTERS
from skyferry.ledgers.sqlite.fleet.workers import SQL as WORKERS
from skyferry.ledgers.sqlite.fleet.workers import build_worker_page
from skyferry.ledgers.sqlite.held_deletes import SQL as DELETES
from skyferry.ledgers.sqlite.ledger import SqliteLedger
from skyferry.ledgers.sqlite.schema import apply_pending_step, forget_processes, read_status, require_known_schema
from skyferry.ports import Clock, DeadLetter, Ledger, Page, WorkerEntry
from skyferry.ports.ledger import Backup, LedgerRecords, LedgerStatus
from skyferry.sqlite.file import translate_error
from skyferry.sqlite.log import SUFFIXES, mark_copy
from skyferry.sqlite.owners import find_users, owners_folder
from skyferry.sqlite.readonly import (
    DurableFile,
    Watch,
    connect_readonly,
    find_damage,
    read_unchanged,
    run_cancellable,
)

CHECK = "run `skyferry ledger check`"
BATCH = 100  # letters carried over at once
STEP = 10_000  # pages of 4 KiB that a backup copies before it looks again whether it was cancelled
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
_FILLED = "SELECT EXISTS (SELECT 1 FROM placements) OR EXISTS (SELECT 1 FROM transfers)"
_COUNTED = "SELECT state, count(*) FROM transfers WHERE state <> 0 GROUP BY state"
_COUNTERS = (
    "SELECT CAST(substr(name, 7) AS INTEGER), value FROM counters WHERE name LIKE 'state %' AND name <> 'state 0'"
)


class SqliteLedgerMaintenance(DurableFile):
    """A `LedgerMaintenance` of one file."""

    error = LedgerError
    remedy = "stop the service, then run `skyferry ledger rebuild` or restore a backup"

    def __init__(self, path: Path, owner: str, clock: Clock, lease: float) -> None:
        """`owner`, `clock` and `lease` are those of the ledger that `rebuild` opens."""
        super().__init__(path)
        self._owner, self._clock, self._lease = owner, clock, lease

    def _examine(self, watch: Watch, *, quick: bool) -> list[str]:
        return super()._examine(watch, quick=True) if quick else _find_damage(self.path, watch)

    async def read_status(self) -> LedgerStatus:
        return await asyncio.to_thread(read_status, self.path)

    @asynccontextmanager
    async def read_records(self) -> AsyncIterator[LedgerRecords]:
        yield _Records(self.path, self._clock)

    async def migrate(self) -> AsyncIterator[str]:
        while (step := await asyncio.to_thread(apply_pending_step, self.path, self._owner)) is not None:
            yield str(step)

    async def back_up(self, target: Path) -> Backup:
        return await run_cancellable(partial(_back_up, self.path, target))

    @asynccontextmanager
    async def rebuild(self, *, add: bool = False) -> AsyncIterator[Ledger]:
        path = _follow_links(self.path)
        if live := find_users(path):
            raise LedgerError(f"{live[0]} has it open", where=self.where, hint="stop the service first")
        damaged = path.exists() and bool(await self.find_damage())
        if path.exists() and not damaged and not add and _is_filled(path):
            hint = "add --add to record the objects that only the destinations know of"
            raise SkyferryError("it is intact, so there is nothing to rebuild", where=self.where, hint=hint)
        new = path.with_name(f"{path.name}.rebuilt") if damaged or not path.exists() else path
        ledger = SqliteLedger(new, self._owner, self._clock, self._lease)
        try:
            if damaged:
                await _carry_over(path, ledger)
            yield ledger
        except BaseException:  # also if it is cancelled
            await ledger.close()
            if new != path and not _is_filled(new):  # else the next rebuild continues it
                _remove(new)
            raise
        await ledger.close()
        if new != path:
            _replace(path, new)


class _Records:
    """`LedgerRecords` of a file that is not opened as a ledger."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path, self._clock = path, clock

    async def count_held_deletes(self) -> list[tuple[str, str, int]]:
        return await self._read(DELETES["count"])

    async def count_unrouted(self, limit: int = 20) -> list[tuple[str, int]]:
        return await self._read(LETTERS["count_unrouted"], limit=limit)

    async def get_identity(self, source: str) -> str:
        found = await self._read(DELETES["get_identity"], source=source)
        return str(found[0][0]) if found else ""

    async def list_workers(self, cursor: str = "", limit: int = 100) -> Page[WorkerEntry]:
        now = rules.to_ticks(self._clock.time())
        rows = await self._read(WORKERS["list_workers"], now=now, after=cursor, limit=limit + 1)
        return build_worker_page(orjson.loads(rows[0][0]), now, limit)

    async def _read(self, sql: str, **values: object) -> list[Any]:
        return await asyncio.to_thread(self._fetch, sql, values)

    def _fetch(self, sql: str, values: Mapping[str, object]) -> list[Any]:
        try:
            return read_unchanged(self._path, lambda db: db.execute(sql, values).fetchall())
        except (sqlite3.Error, OSError) as problem:
            raise translate_error(problem, LedgerError, self._path) from problem


async def _carry_over(path: Path, ledger: SqliteLedger) -> None:
    letters = []
    for letter in _salvage(path):
        letters.append(letter)
        if len(letters) == BATCH:
            await ledger.add_dead_letters(letters)
            letters = []
    await ledger.add_dead_letters(letters)


def _follow_links(path: Path) -> Path:
    """Return the path of the file itself: a rebuild replaces it, and leaves a symbolic link to it as it is."""
    return Path(os.path.realpath(path))


def _replace(path: Path, new: Path) -> None:
    """Set the old file aside, and move the new one to its place."""
    from shutil import rmtree  # slow to import, and only a rebuild needs it

    at = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    for part in SUFFIXES:
        old = path.with_name(f"{path.name}{part}")
        if old.exists():
            os.rename(old, path.with_name(f"{path.name}.damaged-{at}{part}"))
    os.rename(new, path)
    rmtree(owners_folder(new), ignore_errors=True)


def _remove(path: Path) -> None:
    from shutil import rmtree

    for part in SUFFIXES:
        path.with_name(f"{path.name}{part}").unlink(missing_ok=True)
    rmtree(owners_folder(path), ignore_errors=True)


def _find_damage(path: Path, watch: Watch) -> list[str]:
    """Return what SQLite finds, else where the tables disagree. Raises LedgerIncompatible: newer tables look damaged."""
    require_known_schema(path)
    if problems := find_damage(path, watch):
        return problems
    try:
        with closing(connect_readonly(path)) as db:
            watch(db)
            db.execute("BEGIN")  # one snapshot for all queries
            return [*_find_disagreements(db)]
    except sqlite3.Error as problem:
        return [f"it is not a ledger: {problem}"]


def _is_filled(path: Path) -> bool:
    with closing(connect_readonly(path)) as db:
        return bool(db.execute(_FILLED).fetchone()[0])


def _back_up(path: Path, target: Path, watch: Watch) -> Backup:
    if target.is_dir():
        target /= f"{path.stem}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.db"
    part = target.with_name(f"{target.name}.part")
    require_known_schema(path)
    _create_private(part)
    try:
        with closing(connect_readonly(path)) as db, closing(sqlite3.connect(part, isolation_level=None)) as copy:
            db.execute("BEGIN")  # one snapshot for all steps, whatever is written meanwhile
            db.execute(_FILLED).fetchone()
            db.backup(copy, pages=STEP, progress=lambda *_: watch(db))
            copy.execute("PRAGMA journal_mode=DELETE")  # one file, without a -wal beside it
            forget_processes(copy)
            mark_copy(copy)
        if problems := _find_damage(part, watch):
            raise LedgerError(f"the copy is damaged: {problems[0]}", where=str(path), hint=CHECK)
        with part.open("rb") as file:
            os.fsync(file.fileno())
        os.link(part, target)  # never over another file
        return Backup(target, target.stat().st_size)
    except FileExistsError as error:
        raise SkyferryError("the file exists", where=str(target), hint="choose another name") from error
    except (sqlite3.Error, OSError) as error:
        if getattr(error, "errno", None) == errno.ENOSPC or "SQLITE_FULL" in getattr(error, "sqlite_errorname", ""):
            hint = "free some disk space, or choose another folder"
            raise SkyferryError("No space left on device", where=str(target), hint=hint) from error
        raise LedgerError(f"it cannot be copied: {error}", where=str(path), hint=CHECK) from error
    finally:
        part.unlink(missing_ok=True)


def _create_private(file: Path) -> None:
    """Create an empty file. Raises SkyferryError if the folder does not accept it: that is no fault of the ledger."""
    try:
        file.unlink(missing_ok=True)
        file.touch(mode=0o600)
    except FileNotFoundError as error:
        hint = "create it, or choose another folder"
        raise SkyferryError("the folder does not exist", where=str(file.parent), hint=hint) from error
    except OSError as error:
        message = f"no file can be created in the folder: {error.strerror}"
        hint = "choose another folder, or change its permissions"
        raise SkyferryError(message, where=str(file.parent), hint=hint) from error


def _salvage(path: Path) -> Iterator[DeadLetter]:
    """Iterate over the readable dead letters of a damaged file."""
    with suppress(sqlite3.Error), closing(connect_readonly(path)) as db:
        for serial in _serials(db):
            with suppress(sqlite3.Error, ValueError, TypeError, LookupError):  # on a damaged page
                if row := db.execute("SELECT letter FROM letters WHERE serial = ?", (serial,)).fetchone():
                    yield codec.unpack_letter(row[0], None)


def _serials(db: sqlite3.Connection) -> Iterator[int]:
    with suppress(sqlite3.Error):
        for (serial,) in db.execute("SELECT serial FROM letters ORDER BY serial").fetchall():
            yield serial


def _find_disagreements(db: sqlite3.Connection) -> Iterator[str]:
    for what, query in _RULES:
        if count := db.execute(query).fetchone()[0]:
            yield f"{count} {what}"
    counted, counters = dict(db.execute(_COUNTED)), dict(db.execute(_COUNTERS))
    for number, state in enumerate(STATES):
        if counted.get(number, 0) != counters.get(number, 0):
            yield f"{counted.get(number, 0)} transfers are {state}, but {counters.get(number, 0)} were counted"
