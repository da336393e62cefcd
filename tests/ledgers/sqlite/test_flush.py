"""One SQLite file: what must outlive a loss of power waits for the disk, what only live processes need does not."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import pytest

from skyferry.errors import LedgerError
from skyferry.ledgers.sqlite.ledger import SqliteLedger
from skyferry.ports import Outgoing, Settlement
from skyferry.queues.sqlite.queue import SqliteQueue
from skyferry.sql.schema_steps import SchemaHistory, order_steps
from skyferry.sqlite.file import SqliteFile
from skyferry.testing.clock import ManualClock
from skyferry.testing.ledger.harness import claim, done, transfer

T = TypeVar("T")
NORMAL, FULL = 1, 2  # https://www.sqlite.org/pragma.html#pragma_synchronous


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[SqliteFile]:
    steps = order_steps([("0001-expand-tables.sql", "CREATE TABLE t (n INTEGER)")])
    file = SqliteFile(path, SchemaHistory("ledger", "t", LedgerError, steps), "one", LedgerError)
    try:
        yield file
    finally:
        await file.close()


def synchronous(db: sqlite3.Connection) -> int:
    """Return how the running transaction will be committed."""
    (value,) = db.execute("PRAGMA synchronous").fetchone()
    return int(value)


async def test_each_commit_waits_for_the_disk_only_where_it_is_asked_to(tmp_path: Path) -> None:
    async with opened(tmp_path / "file.db") as file:
        asked = [True, False, False, True]
        assert [await file.write(synchronous, flush=flush) for flush in asked] == [FULL, NORMAL, NORMAL, FULL]


async def test_a_start_waits_for_the_disk_no_more_than_a_new_file_needs(tmp_path: Path) -> None:
    """The steps of the schema and the registration are made again if they are lost, and the first flush covers them."""
    seen: list[int] = []
    steps = order_steps([("0001-expand-tables.sql", "CREATE TABLE t (n INTEGER)")])
    history = SchemaHistory("ledger", "t", LedgerError, steps)
    file = SqliteFile(
        tmp_path / "file.db", history, "one", LedgerError, lambda db, presence: seen.append(synchronous(db))
    )
    try:
        assert seen == [NORMAL]
        assert await file.write(synchronous) == FULL
    finally:
        await file.close()


async def test_other_users_cannot_read_it(tmp_path: Path) -> None:
    """Nor the files that SQLite adds to it."""
    async with opened(tmp_path / "file.db") as file:
        await file.write(lambda db: db.execute("INSERT INTO t VALUES (1)"))
        modes = {each.name: each.stat().st_mode & 0o777 for each in tmp_path.glob("file.db*") if each.is_file()}
    assert modes == dict.fromkeys(("file.db", "file.db-wal", "file.db-shm"), 0o600)


@pytest.mark.parametrize("there", [False, True])
async def test_another_user_can_take_no_lock(tmp_path: Path, there: bool) -> None:
    """A user with access to the folder could lock it, and no service would start. One of an earlier version is open."""
    folder = tmp_path / "file.db.owners"
    if there:
        folder.mkdir()
        folder.chmod(0o755)
    async with opened(tmp_path / "file.db"):
        assert folder.stat().st_mode & 0o777 == 0o700


async def test_one_that_must_wait_makes_its_whole_group_wait(tmp_path: Path) -> None:
    async with opened(tmp_path / "file.db") as file:
        started, go = asyncio.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()

        def hold(db: sqlite3.Connection) -> None:
            """Until the others have come: they are one group then."""
            loop.call_soon_threadsafe(started.set)
            asyncio.run_coroutine_threadsafe(go.wait(), loop).result()

        first = asyncio.create_task(file.write(hold, flush=False))
        await started.wait()
        others = [asyncio.create_task(file.write(synchronous, flush=flush)) for flush in (False, True, False)]
        await asyncio.sleep(0)
        go.set()
        await first
        assert await asyncio.gather(*others) == [FULL, FULL, FULL]


async def test_settlements_and_what_is_sent_wait_and_claims_and_acks_do_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[bool] = []
    write = SqliteFile.write

    async def record_flush(
        self: SqliteFile, operation: Callable[[sqlite3.Connection], T], *, flush: bool = True, announce: bool = False
    ) -> T:
        flushed.append(flush)
        return await write(self, operation, flush=flush, announce=announce)

    monkeypatch.setattr(SqliteFile, "write", record_flush)
    ledger = SqliteLedger(tmp_path / "ledger.db", "one", ManualClock())
    queue = SqliteQueue(tmp_path / "queue.db", "queue", "one", ManualClock())
    (held,) = await claim(ledger, transfer("a"))
    await ledger.settle([Settlement(held, done(held))])
    await queue.send([Outgoing(b"body")])
    await queue.ack(await queue.receive(1, 0))
    assert flushed == [False, True, True, False, False]
    await ledger.close()
    await queue.close()
