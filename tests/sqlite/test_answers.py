"""The answers of a group of operations reach the event loop together."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from skyferry.errors import LedgerError
from skyferry.sql.schema_steps import SchemaHistory, order_steps
from skyferry.sqlite.file import SqliteFile

SCHEMA = SchemaHistory("ledger", "t", LedgerError, order_steps([("0001-expand-tables.sql", "CREATE TABLE t (a)")]))


@asynccontextmanager
async def make_group(path: Path, *operations: Callable[[sqlite3.Connection], object]) -> AsyncIterator[list[Any]]:
    """Yield the tasks of operations that will run in one transaction, which begins when the block ends."""
    file, started, go = SqliteFile(path / "file.db", SCHEMA, "one", LedgerError), threading.Event(), threading.Event()

    def hold(db: sqlite3.Connection) -> None:
        started.set()
        go.wait()

    first = asyncio.create_task(file.write(hold))
    await asyncio.to_thread(started.wait)
    tasks = [asyncio.create_task(file.write(each)) for each in operations]
    await asyncio.sleep(0)
    yield tasks
    go.set()
    await asyncio.gather(first, *tasks, return_exceptions=True)
    await file.close()


def add(db: sqlite3.Connection) -> object:
    return db.execute("INSERT INTO t VALUES (1)").rowcount


def fail(db: sqlite3.Connection) -> object:
    raise sqlite3.OperationalError("fails")


async def test_a_group_wakes_the_event_loop_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loop, calls = asyncio.get_running_loop(), list[str]()
    call_soon_threadsafe = loop.call_soon_threadsafe

    def count(callback: Callable[..., object], *args: Any, **options: Any) -> asyncio.Handle:
        calls.append(threading.current_thread().name)
        return call_soon_threadsafe(callback, *args, **options)

    monkeypatch.setattr(loop, "call_soon_threadsafe", count)
    async with make_group(tmp_path, *[add] * 20) as tasks:
        pass
    assert [task.result() for task in tasks] == [1] * 20
    assert calls.count("sqlite-file.db") == 2  # the operation that held the group up, and the group


async def test_a_cancelled_operation_takes_no_answer_from_the_others(tmp_path: Path) -> None:
    async with make_group(tmp_path, add, add, add) as (first, cancelled, last):
        cancelled.cancel()
    assert (first.result(), cancelled.cancelled(), last.result()) == (1, True, 1)


async def test_only_the_operation_that_fails_gets_the_error(tmp_path: Path) -> None:
    async with make_group(tmp_path, add, fail, add) as (first, failed, last):
        pass
    assert (first.result(), last.result()) == (1, 1)
    assert isinstance(failed.exception(), LedgerError)
