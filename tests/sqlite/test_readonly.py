"""A long read of a file ends once it is cancelled, and a backup is of one moment while other processes write."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from tests.sqlite.test_log import maintain, write

from skyferry.ledgers.sqlite import maintenance
from skyferry.ports.ledger import Backup
from skyferry.sqlite.readonly import run_cancellable

ENDLESS = "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers) SELECT count(*) FROM numbers"
MOST = 1000  # commits


async def test_a_read_ends_once_it_is_cancelled() -> None:
    """Also if it goes on with another statement."""
    ended: list[str] = []

    def read(watch: Callable[[sqlite3.Connection], object]) -> None:
        for _ in range(2):
            with closing(sqlite3.connect(":memory:")) as db:
                try:
                    watch(db)
                    db.execute(ENDLESS)
                except sqlite3.OperationalError as error:
                    ended.append(str(error))

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await run_cancellable(read)
    assert ended == ["interrupted", "interrupted"]


async def test_a_cancelled_backup_leaves_nothing(tmp_path: Path) -> None:
    await write(tmp_path / "ledger.db", "a")
    copying = asyncio.create_task(maintain(tmp_path / "ledger.db").back_up(tmp_path / "copy.db"))
    await asyncio.sleep(0)
    copying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await copying
    assert list(tmp_path.glob("copy*")) == []


async def test_writers_do_not_make_a_backup_begin_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process commits after each page that is copied."""
    file, commits = tmp_path / "ledger.db", 0
    await write(file, *map(str, range(20)))
    monkeypatch.setattr(maintenance, "STEP", 1)

    async def run(read: Callable[[Callable[[sqlite3.Connection], object]], Backup]) -> Backup:
        with closing(sqlite3.connect(file, isolation_level=None, check_same_thread=False)) as other:

            def commit(_: sqlite3.Connection) -> None:
                nonlocal commits
                commits += 1
                assert commits < MOST
                other.execute("UPDATE identities SET identity = ?", (str(commits),))

            return await asyncio.to_thread(read, commit)

    monkeypatch.setattr(maintenance, "run_cancellable", run)
    await maintain(file).back_up(tmp_path / "copy.db")
    assert commits > 20
    monkeypatch.undo()
    assert await maintain(tmp_path / "copy.db").find_damage() == []
