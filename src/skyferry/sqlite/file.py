"""One SQLite file for one process: a writer thread with group commit, and a reader. Processes write in turn.

SQL runs off the event loop. Each statement that steps through rows passes the interpreter lock back and forth, so callers use
few statements per operation: a batch goes in as one JSON text (`json_each`) and comes out as one (`json_group_array`).

Durability: WAL with `synchronous=FULL`, so a commit survives power loss (https://www.sqlite.org/pragma.html#pragma_synchronous).
Operations that need less are committed without a flush (NORMAL): they survive the process, and the next flush covers them too.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import queue
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from skyferry.errors import LedgerDamaged, LedgerError, OutOfResources, QueueDamaged, QueueError, SkyferryError
from skyferry.sql.schema_steps import SchemaHistory
from skyferry.sqlite.log import ForeignLog, list_parts, mark_commit, mark_opening, require_own_log
from skyferry.sqlite.opened import OpenedFile, require_one_name, require_same_files
from skyferry.sqlite.owners import PATIENCE, OwnerLock, owners_folder
from skyferry.sqlite.quiet_time import NO_QUIET_TIME, QuietTime, find_patience
from skyferry.sqlite.schema import apply_next_step, connect
from skyferry.tasks.threads import call_aside, is_refusal, refuse_thread, start_thread

T = TypeVar("T")
Operation = Callable[[sqlite3.Connection], Any]
Opened = Callable[[sqlite3.Connection, OwnerLock], None]
OnHealth = Callable[[SkyferryError | None], None]
GROUP = 64  # operations in one transaction at most
DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_DAMAGE: Mapping[type[SkyferryError], tuple[type[SkyferryError], str]] = {
    LedgerError: (
        LedgerDamaged,
        "stop the service, then run `skyferry ledger rebuild` or restore a backup; see docs/operations/ledger.md",
    ),
    QueueError: (
        QueueDamaged,
        "stop the service, then move the file away with its -wal and -shm files; see docs/operations/ledger.md",
    ),
}
_HINTS: Mapping[int, str] = {
    sqlite3.SQLITE_FULL: "free some disk space",
    sqlite3.SQLITE_READONLY: "give the user that runs Skyferry write access to the file and its folder, on a disk mounted writable",
    sqlite3.SQLITE_CANTOPEN: "check that its folder exists and is writable, and that file descriptors are left (ulimit -n)",
    sqlite3.SQLITE_IOERR: "check the disk and the system log",
    sqlite3.SQLITE_BUSY: "another process keeps it locked; end that process",
    sqlite3.SQLITE_LOCKED: "another process keeps it locked; end that process",
}
_SAME: Mapping[int, int] = {  # errors of the system that SQLite reports by these codes
    errno.ENOSPC: sqlite3.SQLITE_FULL,
    errno.EDQUOT: sqlite3.SQLITE_FULL,
    errno.EFBIG: sqlite3.SQLITE_FULL,
    errno.EROFS: sqlite3.SQLITE_READONLY,
    errno.EACCES: sqlite3.SQLITE_READONLY,
    errno.EIO: sqlite3.SQLITE_IOERR,
}


FOREIGN_LOG = (
    "if the file was replaced on purpose, as by a backup, move the log (-wal) and the -shm file away; otherwise restore the file "
    "that the log belongs to; see docs/operations/ledger.md"
)


class _Request(NamedTuple):
    operation: Operation
    answer: asyncio.Future[Any]  # gets its result
    flush: bool  # it must survive power loss
    announce: bool  # it wakes the processes that wait for announcements


class SqliteFile:
    """A file with a schema. Operations are functions of a connection. They may run again, so SQL MUST be their only effect."""

    def __init__(
        self,
        path: Path,
        history: SchemaHistory,
        owner: str,
        error: type[SkyferryError],
        opened: Opened | None = None,
        on_health: OnHealth = lambda error: None,
        cache: int = 64 * 2**20,
    ) -> None:
        """Open or create the file, with the expansions of its schema that it lacks.

        `owner` names this process, and `error` is the class of all failures.

        Each of the two connections caches pages of up to `cache` bytes.

        `opened` runs in a transaction before any operation, with this process registered. `on_health` is called on the event
        loop with each error, and with None once reads and writes succeed again.
        """
        self.path = path
        self._error = error
        self._cache = cache
        self._on_health = on_health
        self._failing: set[str] = set()  # "read", "write": sides whose last operation failed
        self._requests: queue.SimpleQueue[_Request | None] = queue.SimpleQueue()
        self._unanswered: dict[asyncio.Future[Any], None] = {}
        self._loop: asyncio.AbstractEventLoop | None = None  # that looks, while writes wait, if a turn is lost
        self._look: asyncio.TimerHandle | None = None
        try:
            self._open(history, owner, opened)
            self._thread = start_thread(f"sqlite-{path.name}", self._run)
        except (sqlite3.Error, OSError, SkyferryError) as problem:
            for name in ("_reader", "_writer", "presence"):
                if hasattr(self, name):
                    getattr(self, name).close()
            raise translate_error(problem, error, path) from problem
        self._displaced = False  # a file was not at its path when it was last looked for
        self.rollbacks = 0  # transactions that failed
        self._quiet: dict[str, QuietTime] = {}
        self._closed = False
        self._readers = ThreadPoolExecutor(1, f"sqlite-read-{path.name}")

    def _open(self, history: SchemaHistory, owner: str, opened: Opened | None) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.presence = OwnerLock(owners_folder(self.path), owner)
        with self.presence.take_first_turn():  # SQLite does not wait if two processes switch a new file to WAL
            require_one_name(self.path, self._error)
            require_same_files(self.path, self.presence, self._error)
            require_own_log(self.path)
            self.path.touch(0o600)  # it contains messages, and secrets that resume uploads
            self._writer, self._reader = self._connect(history), self._connect(history)
            self._opened, self._log = OpenedFile(self.path, self._error), list_parts(self.path)[1]
            self._opened.register(self.presence)
            self._flushing = True
            # The first flush covers the steps as well. If they are lost before it, they run again.
            self._set_flush(False)
            while apply_next_step(self._writer, history, str(self.path)):
                pass
            if opened is not None:
                self._writer.execute("BEGIN IMMEDIATE")
                opened(self._writer, self.presence)
                mark_opening(self._writer)
                self._writer.execute("COMMIT")
        self._reader.execute("PRAGMA query_only=ON")

    @property
    def closed(self) -> bool:
        """True after `close`."""
        return self._closed

    async def write(
        self, operation: Callable[[sqlite3.Connection], T], *, flush: bool = True, announce: bool = False
    ) -> T:
        """Run in one transaction with all operations that are waiting. Cancelling does not undo it.

        Nothing is written if the file is no longer at its path. On return it survives the death of the process; with `flush` also
        that of the machine. `announce` wakes the processes that wait for announcements (see `OwnerLock.announce`).
        """
        self._require_open()
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()
        self._requests.put(_Request(operation, answer, flush, announce))
        self._unanswered[answer] = None
        if self._look is None or self._loop is not loop:  # one timer for all, because one for each write costs more
            self._look_later(loop)
        try:
            return await self._finish("write", answer)
        finally:
            del self._unanswered[answer]

    def _look_later(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop, self._look = loop, loop.call_later(PATIENCE, self._fail_without_turn)

    def _fail_without_turn(self) -> None:
        """End the waits for answers if another process does not end its turn; else look again later, while there are any."""
        self._look = None
        waiting = [answer for answer in self._unanswered if answer.get_loop() is self._loop and not answer.done()]
        if self.presence.lost_turn:
            for answer in waiting:
                answer.set_exception(self._make_turn_error())
        elif waiting and self._loop is not None:
            self._look_later(self._loop)

    async def check_writable(self) -> None:
        """Raise the error of this file if it cannot be written. Nothing is written to it, nor to the disk."""
        await self.write(lambda db: self._probe(), flush=False)

    def _probe(self) -> None:
        """Write beside the file as far from the start as the log's next page would be, within an empty transaction."""
        try:
            end = os.stat(self._log).st_size
        except OSError:  # nothing was written yet
            end = 0
        self.presence.probe_disk(end)

    async def read(self, operation: Callable[[sqlite3.Connection], T]) -> T:
        """Run on a connection that sees the last commit and never waits for writers."""
        self._require_open()
        answer = asyncio.get_running_loop().run_in_executor(self._readers, operation, self._reader)
        return await self._finish("read", answer)

    async def find_announced(self, name: str, operation: Callable[[sqlite3.Connection], list[T]]) -> list[T]:
        """Run like `read`. After a result of [] return it again until a process announces something, at most for seconds.

        `name` is that of the operation. Everything that changes its result MUST be announced; see `write`.
        """
        self._require_open()
        announced, now = self.presence.find_last_announcement(), time.monotonic()
        if self._quiet.get(name, NO_QUIET_TIME).lasts(announced, now):
            return []
        found = await self.read(operation)
        self._quiet[name] = NO_QUIET_TIME if found else QuietTime(announced, now + find_patience(announced))
        return found

    async def _finish(self, side: str, answer: asyncio.Future[T]) -> T:
        """Translate exceptions; report errors of the file, and the first success after them, to `on_health`."""
        try:
            result = await answer
        except Exception as problem:
            error = self._translate(problem)
            if isinstance(error, self._error):
                self._failing.add(side)
                self._on_health(error)
            if error is problem:
                raise
            raise error from problem
        if side in self._failing:
            self._failing.remove(side)
            if not self._failing:
                self._on_health(None)
        return result

    async def close(self) -> None:
        """Finish waiting operations and close. Idempotent."""
        if self._closed:
            return
        self._closed = True
        self._requests.put(None)
        while self._thread.is_alive():
            await call_aside(self._thread.join, PATIENCE)
            self._check_turn()
        await call_aside(self._readers.shutdown)
        self._reader.close()
        self._empty_log()
        self._writer.close()
        self.presence.close()
        if self._look is not None and self._loop is asyncio.get_running_loop():
            self._look.cancel()

    def _empty_log(self) -> None:
        """Write the -wal file back if a file is not at its path: SQLite leaves it, and applies it to what is there next."""
        self._displaced = False  # once more: a reader may have kept a part of the log from the file
        with contextlib.suppress(self._error):
            self._require_in_place()

    def _require_in_place(self) -> None:
        """Raise the error if a file is not at its path, once what its log had is in the file that is open."""
        try:
            self._opened.require_in_place()
        except self._error:
            if not self._displaced:
                self._displaced = True
                with contextlib.suppress(sqlite3.Error):
                    self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            raise
        self._displaced = False

    def _require_open(self) -> None:
        if self._closed:
            raise self._error("it is closed", where=str(self.path))

    def _check_turn(self) -> None:
        """Raise the error of this file if another process does not end its turn to write."""
        if self.presence.lost_turn:
            raise self._make_turn_error()

    def _make_turn_error(self) -> SkyferryError:
        return self._error("database is locked", where=str(self.path), hint=_HINTS[sqlite3.SQLITE_BUSY])

    def _connect(self, history: SchemaHistory) -> sqlite3.Connection:
        connection = connect(self.path, history, check_same_thread=False, cached_statements=512)
        for pragma in ("temp_store=MEMORY", f"cache_size=-{self._cache // 1024}", "wal_autocheckpoint=4000"):
            connection.execute(f"PRAGMA {pragma}")
        return connection

    def _run(self) -> None:
        while (first := self._requests.get()) is not None:
            group, stop = [first], False
            while len(group) < GROUP and not self._requests.empty():  # nothing else takes any
                if (item := self._requests.get_nowait()) is None:
                    stop = True
                    break
                group.append(item)
            self._commit(group)
            if stop:
                return

    def _commit(self, group: list[_Request]) -> None:
        """Commit the group in one transaction. If an operation fails, commit each on its own, so that only that one fails."""
        try:
            results = self._run_group(group)
        except Exception as problem:  # noqa: BLE001 - raised in the caller, which awaits it
            if len(group) > 1:
                for item in group:
                    self._commit([item])
            else:
                _call_soon(group, _raise, self._translate(problem))
            return
        _call_soon(group, _answer, results)

    def _run_group(self, group: list[_Request]) -> list[Any]:
        """Run the operations in one transaction, and return their results.

        It is announced within the turn: who has the next one sees the announcement of all that it finds.
        """
        with self.presence.take_turn():
            self._require_in_place()
            try:
                self._set_flush(any(request.flush for request in group))
                self._writer.execute("BEGIN IMMEDIATE")
                before = self._writer.total_changes
                results = [request.operation(self._writer) for request in group]
                if self._writer.total_changes != before:
                    mark_commit(self._writer)
                self._writer.execute("COMMIT")
                if any(request.announce for request in group):
                    self.presence.announce()
            except BaseException:
                self.rollbacks += 1
                if self._writer.in_transaction:
                    with contextlib.suppress(sqlite3.Error):
                        self._writer.execute("ROLLBACK")
                raise
        return results

    def _set_flush(self, wanted: bool) -> None:
        """Let the next commits wait for the disk, or not."""
        if wanted is not self._flushing:
            self._writer.execute(f"PRAGMA synchronous={'FULL' if wanted else 'NORMAL'}")
            self._flushing = wanted

    def _translate(self, problem: Exception) -> SkyferryError:
        return translate_error(problem, self._error, self.path)


def _call_soon(group: Sequence[_Request], function: Callable[..., None], outcome: object) -> None:
    """Wake the event loop once for the whole group. A loop that was closed meanwhile needs no answers."""
    with contextlib.suppress(RuntimeError):
        group[0].answer.get_loop().call_soon_threadsafe(function, group, outcome)


def _answer(group: Sequence[_Request], results: Sequence[Any]) -> None:
    for request, result in zip(group, results, strict=True):
        if not request.answer.done():  # its caller was cancelled, or does not wait any more
            request.answer.set_result(result)


def _raise(group: Sequence[_Request], problem: Exception) -> None:
    for request in group:
        if not request.answer.done():
            request.answer.set_exception(problem)


def translate_error(problem: Exception, kind: type[SkyferryError], path: Path) -> SkyferryError:
    """Return the error for an exception of SQLite, the system or the decoding of stored values, with a hint."""
    if is_refusal(problem):
        problem = refuse_thread()
    if isinstance(problem, OutOfResources):
        return kind(problem.message, where=str(path), hint=problem.hint)
    if isinstance(problem, SkyferryError):
        return problem
    text, hint = str(problem), ""
    if isinstance(problem, sqlite3.Error):
        code = getattr(problem, "sqlite_errorcode", 0) & 0xFF  # the primary code of an extended one
        kind, hint = _DAMAGE.get(kind, (kind, "")) if code in DAMAGED else (kind, _HINTS.get(code, ""))
        if code == sqlite3.SQLITE_NOTADB:  # more often a wrong path than a damaged file
            text, hint = "it is not a file of SQLite", f"correct the path in the URL; if it is right, {hint}"
        if isinstance(problem, ForeignLog):
            hint = FOREIGN_LOG
    elif isinstance(problem, OSError):
        hint = _HINTS.get(_SAME.get(problem.errno or 0, 0), "")
    else:
        text = f"a stored value cannot be decoded: {type(problem).__name__}: {problem}"
    if os.path.isdir(path):  # False, too, where this user may not look
        text, hint = "it is a folder, not a file", "name a file in it in the URL"
    error = kind(text, where=str(path), hint=hint)
    error.__cause__ = problem
    return error
