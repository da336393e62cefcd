"""Processes that write to one file take turns."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from skyferry.errors import LedgerError
from skyferry.sql.schema_steps import SchemaHistory, order_steps
from skyferry.sqlite import file as sqlite_file
from skyferry.sqlite import owners
from skyferry.sqlite.file import SqliteFile

STEPS = order_steps([("0001-expand-tables.sql", "CREATE TABLE t (a)")])
SCHEMA = SchemaHistory("ledger", "t", LedgerError, STEPS)
HANGING = """
import sys, time
from pathlib import Path
from skyferry.sqlite.owners import OwnerLock
with OwnerLock(Path(sys.argv[1]), "hanging").take_turn():
    print("inside", flush=True)
    time.sleep(600)
"""


def open_file(path: Path, owner: str) -> SqliteFile:
    return SqliteFile(path, SCHEMA, owner, LedgerError)


@contextmanager
def hang_in_turn(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Run a process that does not end its turn."""
    command = [sys.executable, "-c", HANGING, str(owners.owners_folder(path))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "inside\n"
            yield process
        finally:
            process.kill()


async def test_of_two_busy_writers_neither_waits_for_many_turns_of_the_other(tmp_path: Path) -> None:
    """SQLite's own waiting lets a busy writer pass hundreds of times while another one sleeps."""
    files = {name: open_file(tmp_path / "x.db", name) for name in ("a", "b")}
    turns: list[str] = []

    async def work(name: str) -> None:
        def operation(db: sqlite3.Connection) -> None:
            db.execute("INSERT INTO t VALUES (1)")
            time.sleep(0.003)  # the other one comes meanwhile
            turns.append(name)

        while len(turns) < 300:
            await files[name].write(operation, flush=False)

    await asyncio.gather(*(work(name) for name in ("a", "a", "a", "b")))
    for each in files.values():
        await each.close()
    assert max(len(list(same)) for _, same in groupby(turns)) < 60


async def test_a_turn_that_another_process_does_not_end_is_an_error_until_it_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (owners, sqlite_file):
        monkeypatch.setattr(module, "PATIENCE", 0.2)
    file = open_file(tmp_path / "x.db", "me")
    with hang_in_turn(file.path) as process:
        with pytest.raises(LedgerError, match=r"database is locked.*end that process"):
            await file.write(lambda db: db.execute("INSERT INTO t VALUES (1)").close())
        probes = [file.check_writable() for _ in range(2)]
        failures = await asyncio.gather(*probes, return_exceptions=True)
        assert {type(each) for each in failures} == {LedgerError}
        assert failures[0] is not failures[1]  # each caller adds its own traceback
        with pytest.raises(LedgerError, match="end that process"):
            open_file(file.path, "late")
        process.kill()
        await file.write(lambda db: db.execute("INSERT INTO t VALUES (2)").close())
    found = await file.read(lambda db: db.execute("SELECT a FROM t").fetchall())
    assert found == [(1,), (2,)]
    await file.close()


async def test_writes_share_one_timer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, loop, timers = open_file(tmp_path / "x.db", "me"), asyncio.get_running_loop(), list[float]()
    set_timer = loop.call_later

    def count(delay: float, *given: Any) -> asyncio.TimerHandle:
        timers.append(delay)
        return set_timer(delay, *given)

    monkeypatch.setattr(loop, "call_later", count)
    for _ in range(20):
        await file.check_writable()
    assert timers == [owners.PATIENCE]
    await file.close()


async def test_a_removed_folder_of_owners_does_not_end_the_turns(tmp_path: Path) -> None:
    file = open_file(tmp_path / "x.db", "me")
    folder = owners.owners_folder(file.path)
    for each in folder.iterdir():
        each.unlink()
    folder.rmdir()
    await file.write(lambda db: db.execute("INSERT INTO t VALUES (1)").close())
    other = open_file(file.path, "other")
    await other.write(lambda db: db.execute("INSERT INTO t VALUES (2)").close())
    await other.close()
    await file.close()
    assert not os.listdir(folder)
