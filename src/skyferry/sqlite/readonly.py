"""Reading a file without opening it as a user of it."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from skyferry.errors import QueueError, SkyferryError
from skyferry.ports.inspection import LedgerFacts, Wrong
from skyferry.sqlite.file import translate_error
from skyferry.sqlite.filesystem import find_network_filesystem, find_second_name, is_writable
from skyferry.sqlite.log import ForeignLog, list_parts, require_own_log
from skyferry.sqlite.opened import ONE_NAME

T = TypeVar("T")
Watch = Callable[[sqlite3.Connection], object]
INTERRUPT = 0.1  # seconds between interrupts: one that comes between two statements has no effect


async def run_cancellable(read: Callable[[Watch], T]) -> T:
    """Run `read` in a thread, and end its statements if this task is cancelled: asyncio.run waits for threads.

    `read` calls its argument with each connection that it uses, before it executes anything.
    """
    used: list[sqlite3.Connection] = []
    cancelled = False

    def watch(db: sqlite3.Connection) -> None:
        if cancelled:
            raise sqlite3.OperationalError("interrupted")
        used.append(db)

    running = asyncio.create_task(asyncio.to_thread(read, watch))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        cancelled = True
        while not running.done():
            for db in used:
                with contextlib.suppress(sqlite3.ProgrammingError):  # it is closed
                    db.interrupt()
            await asyncio.wait([running], timeout=INTERRUPT)
        running.exception()
        raise


def connect_readonly(path: Path, *, immutable: bool = False) -> sqlite3.Connection:
    """Open a connection that neither changes nor creates a file. Raises sqlite3.Error, such as ForeignLog.

    `immutable`: no process has the file open, so nothing is created beside it either.
    """
    if not immutable:
        require_own_log(path)
    uri = f"{path.absolute().as_uri()}?mode=ro{'&immutable=1' if immutable else ''}"
    return sqlite3.connect(uri, uri=True, timeout=30.0, isolation_level=None)


def read_unchanged(path: Path, query: Callable[[sqlite3.Connection], T]) -> T:
    """Return the result of `query`, which may run twice. No file is created next to one that no process has open.

    A process that opens it meanwhile may change pages under the query, so the query is repeated. Raises sqlite3.Error or OSError.
    """
    if (before := _describe_unused(path)) is not None:
        with contextlib.suppress(sqlite3.Error), contextlib.closing(connect_readonly(path, immutable=True)) as db:
            result = query(db)
            if _describe_unused(path) == before:
                return result
    with contextlib.closing(connect_readonly(path)) as db:
        return query(db)


def _describe_unused(path: Path) -> tuple[int, int] | None:
    """Return the time and the size of a file that no process has open, and that thus has no log; else None."""
    file, log, _ = list_parts(path)
    if log.exists():
        return None
    found = file.stat()
    return found.st_mtime_ns, found.st_size


def find_damage(path: Path, watch: Watch, *, quick: bool = False) -> list[str]:
    """Return the problems that SQLite finds in a file; [] = intact. Other processes may use it. `quick` skips the indexes.

    Raises ForeignLog: the file may be whole, and to rebuild it or to move it away would lose what it has.
    """
    check = f"PRAGMA {'quick_check' if quick else 'integrity_check'}(20)"

    def query(db: sqlite3.Connection) -> list[tuple[str]]:
        watch(db)
        return db.execute(check).fetchall()

    try:
        found = read_unchanged(path, query)
    except ForeignLog:
        raise
    except (sqlite3.Error, OSError) as problem:
        if path.is_dir():
            return ["it is a folder, not a file; name a file in it in the URL"]
        if getattr(problem, "sqlite_errorcode", 0) == sqlite3.SQLITE_NOTADB:
            return ["it is not a file of SQLite; if another file is meant, correct the path in the URL"]
        return [str(problem)]
    return [line for (text,) in found if text != "ok" for line in str(text).splitlines()]


class DurableFile:
    """A file as a `Durable` and an `InspectableLedger`: it is checked without being created."""

    error: type[SkyferryError] = QueueError
    remedy = "stop the service, then move the file away with its -wal and -shm files; a new one is created"

    def __init__(self, path: Path) -> None:
        self.path = path
        self.where = str(path)

    async def exists(self) -> bool:
        return self.path.exists()

    async def inspect(self) -> LedgerFacts:
        """Return where the file cannot work. Processes of one machine share its locks."""
        return LedgerFacts(wrong=await asyncio.to_thread(lambda: tuple(_find_faults(self.path))))

    async def find_damage(self, *, quick: bool = False) -> list[str]:
        """Return the problems. Raises the error of the file if its log belongs to another one."""
        try:
            return await run_cancellable(lambda watch: self._examine(watch, quick=quick))
        except ForeignLog as problem:
            raise translate_error(problem, self.error, self.path) from problem

    def _examine(self, watch: Watch, *, quick: bool) -> list[str]:
        return find_damage(self.path, watch, quick=quick)


def _find_faults(path: Path) -> Iterator[Wrong]:
    if kind := find_network_filesystem(path):
        what = f"{path} is on the network filesystem {kind}, whose locks SQLite cannot rely on"
        yield Wrong(what, "Keep the file on a local disk, or use a server.", loses=True)
    if second := find_second_name(path):
        what = f"{path} {second}, and SQLite keeps another log for each name"
        yield Wrong(what, ONE_NAME, loses=True)
    if not is_writable(path):
        hint = "Give the user that runs Skyferry write access to the file and its folder, on a disk that is mounted writable."
        yield Wrong(f"{path} cannot be written by this user", hint)
