"""One SQLite file for one process: a writer thread that commits what many callers ask together, a reader, and presence.

SQL runs off the event loop. Each statement that steps through rows hands the interpreter lock to and fro, so callers keep
to few statements per operation: a batch goes in as one JSON text (`json_each`) and comes out as one (`json_group_array`).

Durability: WAL with `synchronous=FULL`, so a commit survives power loss (https://www.sqlite.org/pragma.html#pragma_synchronous).
What need not is committed without a flush (NORMAL): it survives the process, and the next flush covers it too.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any, TypeVar

from skyferry.errors import LedgerDamaged, LedgerError, QueueDamaged, QueueError, SkyferryError

T = TypeVar("T")
Operation = Callable[[sqlite3.Connection], Any]
_Asked = tuple[Operation, Future[Any], bool]  # what, for whom, and whether it must survive power loss
Opened = Callable[[sqlite3.Connection, "Presence"], None]
Hearing = Callable[[SkyferryError | None], None]
GROUP = 64  # operations in one transaction at most
DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_DAMAGE: Mapping[type[SkyferryError], tuple[type[SkyferryError], str]] = {
    LedgerError: (
        LedgerDamaged,
        "stop the service, then run `skyferry ledger rebuild` or put a backup in its place: see docs/operations/ledger.md",
    ),
    QueueError: (
        QueueDamaged,
        "stop the service, then move the file away with its -wal and -shm files: see docs/operations/ledger.md",
    ),
}
_HINTS: Mapping[int, str] = {
    sqlite3.SQLITE_FULL: "free some disk space",
    sqlite3.SQLITE_READONLY: "let the user that Skyferry runs as write the file and its folder, on a disk mounted writable",
    sqlite3.SQLITE_CANTOPEN: "see that its folder exists and may be written, and that file descriptors are left (ulimit -n)",
    sqlite3.SQLITE_IOERR: "look at the disk and at the system's log",
    sqlite3.SQLITE_BUSY: "another process keeps it locked: end that process",
    sqlite3.SQLITE_LOCKED: "another process keeps it locked: end that process",
}


class SqliteFile:
    """A file with a schema. Operations are functions of a connection; they may be run again, so they MUST be pure but for SQL."""

    def __init__(
        self,
        path: Path,
        schema: str,
        owner: str,
        error: type[SkyferryError],
        opened: Opened | None = None,
        hear: Hearing = lambda error: None,
    ) -> None:
        """Open or create. `schema` is idempotent SQL; `owner` names this process; `error` is raised for what SQLite reports.

        `opened` runs in a transaction before anything else does, with this process already present. `hear` is called on the
        event loop with each error, and with None once reads and writes succeed again.
        """
        self.path = path
        self._error = error
        self._hear = hear
        self._failing: set[str] = set()  # of "read" and "write": those whose last try failed
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self.presence = Presence(path.with_name(path.name + ".owners"), owner)
            with self.presence.alone():  # SQLite does not wait where two switch a new file to WAL
                path.touch(0o600)  # it holds what was sent to us, and what lets go on with uploads
                self._writer, self._reader = self._connect(), self._connect()
                self._writer.executescript(schema)
            self._reader.execute("PRAGMA query_only=ON")
            if opened is not None:
                self._writer.execute("BEGIN IMMEDIATE")
                opened(self._writer, self.presence)
                self._writer.execute("COMMIT")
        except (sqlite3.Error, OSError) as problem:
            if hasattr(self, "presence"):
                self.presence.close()
            raise self._translate(problem) from problem
        self._flushing = True
        self._todo: queue.SimpleQueue[_Asked | None] = queue.SimpleQueue()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name=f"sqlite-{path.name}", daemon=True)
        self._thread.start()
        self._readers = ThreadPoolExecutor(1, f"sqlite-read-{path.name}")

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    async def write(self, operation: Callable[[sqlite3.Connection], T], *, flush: bool = True) -> T:
        """Run in a transaction with whatever else is waiting. Cancelling does not undo it.

        Durable on return: whatever becomes of the process, and with `flush` also of the machine.
        """
        if self._closed:
            raise self._error("it is closed", where=str(self.path))
        done: Future[T] = Future()
        self._todo.put((operation, done, flush))
        with self._heard("write"):
            return await asyncio.shield(asyncio.wrap_future(done))

    async def read(self, operation: Callable[[sqlite3.Connection], T]) -> T:
        """Run on a connection that sees the last commit and does not wait for writers."""
        if self._closed:
            raise self._error("it is closed", where=str(self.path))
        with self._heard("read"):
            return await asyncio.get_running_loop().run_in_executor(self._readers, operation, self._reader)

    @contextlib.contextmanager
    def _heard(self, side: str) -> Iterator[None]:
        """Translate what fails inside; its own errors are heard, and so is the first success after them."""
        try:
            yield
        except Exception as problem:
            error = self._translate(problem)
            if isinstance(error, self._error):
                self._failing.add(side)
                self._hear(error)
            if error is problem:
                raise
            raise error from problem
        if side in self._failing:
            self._failing.remove(side)
            if not self._failing:
                self._hear(None)

    async def close(self) -> None:
        """Finish what is waiting and close. Idempotent."""
        if self._closed:
            return
        self._closed = True
        self._todo.put(None)
        await asyncio.to_thread(self._thread.join)
        await asyncio.to_thread(self._readers.shutdown)
        self._reader.close()
        self._writer.close()
        self.presence.close()

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path, timeout=30.0, isolation_level=None, check_same_thread=False, cached_statements=512
        )
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            "temp_store=MEMORY",
            "cache_size=-65536",
            "wal_autocheckpoint=4000",
        ):
            connection.execute(f"PRAGMA {pragma}")
        return connection

    def _run(self) -> None:
        while (first := self._todo.get()) is not None:
            group, stop = [first], False
            while len(group) < GROUP:
                try:
                    item = self._todo.get_nowait()
                except queue.Empty:
                    break
                if item is None:
                    stop = True
                    break
                group.append(item)
            self._commit(group)
            if stop:
                return

    def _commit(self, group: list[_Asked]) -> None:
        """One transaction for the group; where one operation fails, each on its own, so that only the guilty one does."""
        try:
            self._flush(any(flush for _, _, flush in group))
            self._writer.execute("BEGIN IMMEDIATE")
            results = [operation(self._writer) for operation, _, _ in group]
            self._writer.execute("COMMIT")
        except Exception as problem:  # noqa: BLE001 - handed to the caller, who awaits it
            if self._writer.in_transaction:
                with contextlib.suppress(sqlite3.Error):
                    self._writer.execute("ROLLBACK")
            if len(group) > 1:
                for item in group:
                    self._commit([item])
            else:
                group[0][1].set_exception(self._translate(problem))
            return
        for (_, done, _), result in zip(group, results, strict=True):
            done.set_result(result)

    def _flush(self, wanted: bool) -> None:
        """Whether commits from here on wait for the disk."""
        if wanted is not self._flushing:
            self._writer.execute(f"PRAGMA synchronous={'FULL' if wanted else 'NORMAL'}")
            self._flushing = wanted

    def _translate(self, problem: Exception) -> SkyferryError:
        """What SQLite, the system, or the decoding of what the file holds reports, with what to do about it."""
        if isinstance(problem, SkyferryError):
            return problem
        kind, text, hint = self._error, str(problem), ""
        if isinstance(problem, sqlite3.Error):
            code = getattr(problem, "sqlite_errorcode", 0) & 0xFF  # the primary one of an extended code
            kind, hint = _DAMAGE.get(kind, (kind, "")) if code in DAMAGED else (kind, _HINTS.get(code, ""))
        elif not isinstance(problem, OSError):
            text = f"what it holds cannot be read: {type(problem).__name__}: {problem}"
        error = kind(text, where=str(self.path), hint=hint)
        error.__cause__ = problem
        return error


def examine(path: Path, quick: bool = False) -> list[str]:
    """What is wrong with a file, as SQLite finds it; [] = it is whole. A process may have it open. `quick` compares no indexes."""
    try:
        with contextlib.closing(connect_readonly(path)) as db:
            found = db.execute(f"PRAGMA {'quick_check' if quick else 'integrity_check'}(20)").fetchall()
    except sqlite3.Error as problem:
        return [str(problem)]
    return [line for (text,) in found if text != "ok" for line in str(text).splitlines()]


def connect_readonly(path: Path) -> sqlite3.Connection:
    """A connection that changes nothing and creates nothing. Raises sqlite3.Error."""
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=30.0, isolation_level=None)


def users(path: Path) -> list[str]:
    """The processes that have a file open, by the names that they gave."""
    folder = path.with_name(f"{path.name}.owners")
    return sorted(each.name for each in folder.iterdir() if not _unlocked(each)) if folder.is_dir() else []


class Presence:
    """Which processes have the file open, by an advisory lock that the kernel drops when a process dies, however it dies."""

    def __init__(self, folder: Path, owner: str) -> None:
        """Sign on. Raises BlockingIOError if a live process has this name."""
        self._mine = folder / owner
        self._folder = folder
        folder.mkdir(mode=0o700, exist_ok=True)
        if folder.stat().st_uid == os.geteuid():
            folder.chmod(
                0o700
            )  # another user of the machine could take the locks; one of an earlier version is open to them
        tries = 0
        while (file := _locked(self._mine, "ab")) is None:
            if (tries := tries + 1) == 20:  # somebody who looks whether we live has it locked for microseconds only
                raise BlockingIOError(f"a process named {owner} has it open")
            time.sleep(0.01)
        self._file = file

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Whoever else comes here waits."""
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield
        finally:
            os.close(folder)

    def dead(self) -> list[str]:
        """Owners whose process is gone and whose leases may be freed; call `forget` once they are.

        Where the system does not let us look (no file descriptor is left, the folder is gone), all count as alive: leases
        end by themselves.
        """
        with contextlib.suppress(OSError):
            return [path.name for path in self._folder.iterdir() if path != self._mine and _unlocked(path)]
        return []

    def forget(self, owners: list[str]) -> None:
        """Stop listing these, but for those that have come back meanwhile. One that cannot be removed is found again."""
        for owner in owners:
            with contextlib.suppress(OSError):
                if (file := _locked(self._folder / owner, "rb")) is not None:
                    with file:
                        (self._folder / owner).unlink()

    def close(self) -> None:
        """Sign off."""
        self._mine.unlink(missing_ok=True)
        self._file.close()


def _locked(path: Path, mode: str) -> IO[bytes] | None:
    """The file, locked; None if somebody else has the lock, or has removed the file meanwhile."""
    file: IO[bytes] = path.open(mode)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(file.fileno()).st_ino == path.stat().st_ino:
            return file
    except (BlockingIOError, FileNotFoundError):
        pass
    file.close()
    return None


def _unlocked(path: Path) -> bool:
    with contextlib.suppress(OSError):
        if (file := _locked(path, "rb")) is not None:
            file.close()
            return True
    return False
