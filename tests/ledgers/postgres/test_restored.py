"""A ledger that was restored from a backup, or is a standby that had not received the last commits, while its workers run on."""

from __future__ import annotations

import os
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.ledgers.postgres.places import PostgresHarness

from skyferry.ledgers.postgres.ledger import open_ledger
from skyferry.ledgers.postgres.maintenance import PostgresLedgerMaintenance
from skyferry.model import State
from skyferry.ports import Wait
from skyferry.testing.ledger.harness import claim, dead, done, finish, settle, transfer
from skyferry.testing.servers import PostgresServer


@pytest.fixture
async def harness(postgres_server: PostgresServer) -> AsyncIterator[PostgresHarness]:
    harness = PostgresHarness(postgres_server, postgres_server.create_database())
    yield harness
    await harness.close()


def _run(harness: PostgresHarness, program: str, *arguments: str | Path) -> None:
    server = harness.server
    if not (server.programs / program).exists():
        pytest.skip(f"{program} is missing: apt-get install postgresql")
    place = ("--host=127.0.0.1", f"--port={server.port}", f"--username={server.user}")
    command = [server.programs / program, *place, f"--dbname={harness.database}", *arguments]
    subprocess.run(command, check=True, env={**os.environ, "PGPASSWORD": server.password}, stdout=subprocess.DEVNULL)


def _back_up(harness: PostgresHarness, folder: Path) -> Path:
    """Back up as the documentation says."""
    _run(harness, "pg_dump", f"--schema={harness.schema}", "--format=custom", f"--file={folder / 'backup'}")
    return folder / "backup"


def _restore(harness: PostgresHarness, backup: Path) -> None:
    """Restore while the workers run."""
    _run(harness, "pg_restore", "--clean", "--single-transaction", backup)


def _maintain(harness: PostgresHarness) -> PostgresLedgerMaintenance:
    return PostgresLedgerMaintenance(harness.pool, lambda: open_ledger(harness.pool(), "rebuild", 30.0))


async def test_a_worker_of_the_time_after_the_backup_shares_no_lease(harness: PostgresHarness, tmp_path: Path) -> None:
    """It is forgotten, as the numbers given since then are. A worker that joins gets other ones."""
    before = await harness.open("before")
    backup = _back_up(harness, tmp_path)
    forgotten = await harness.open("forgotten")
    [old] = await claim(forgotten, transfer("old"))
    _restore(harness, backup)
    joined = await harness.open("joined")
    [held] = await claim(joined, transfer("new"))
    assert isinstance((await forgotten.claim([transfer("new")]))[0], Wait)
    assert await forgotten.renew([old]) == [old]
    assert not await settle(forgotten, old, done(old))
    assert await settle(joined, held, done(held))
    await finish(before, transfer("before"))


async def test_a_forgotten_worker_goes_on_and_is_counted(harness: PostgresHarness, tmp_path: Path) -> None:
    """Its transfers are counted, also once it has ended."""
    await harness.open("before")
    backup = _back_up(harness, tmp_path)
    forgotten = await harness.open("forgotten")
    await finish(forgotten, transfer("lost"))
    _restore(harness, backup)
    await finish(forgotten, transfer("lost"))
    await finish(forgotten, transfer("dead"), dead())
    joined = await harness.open("joined")
    counts = await joined.count_transfers()
    assert (counts[State.DONE], counts[State.DEAD], counts[State.CLAIMED]) == (1, 1, 0)
    await forgotten.close()
    assert await joined.count_transfers() == counts
    assert await _maintain(harness).find_damage() == []
