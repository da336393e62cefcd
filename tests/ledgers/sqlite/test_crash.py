"""Acknowledged records of the SQLite ledger survive `kill -9` at any moment, and the leases of dead processes end."""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from skyferry.ledgers.sqlite.ledger import SqliteLedger
from skyferry.model import Claim, State
from skyferry.ports import Filter, Wait
from skyferry.testing.clock import ManualClock
from skyferry.testing.ledger.harness import transfer

SURVIVOR = Path(__file__).with_name("survivor.py")


def start(path: Path, name: str) -> subprocess.Popen[str]:
    """A process that works on the ledger."""
    process = subprocess.Popen([sys.executable, SURVIVOR, path, name], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def kill(process: subprocess.Popen[str], after: int) -> list[str]:
    """Once it has acknowledged so much; what it has acknowledged in all."""
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(after)]
    process.kill()
    lines += process.stdout.read().splitlines(keepends=True)
    process.wait()
    process.stdout.close()
    return [line for line in lines if line.endswith("\n")]  # the last may be cut


async def test_what_was_acknowledged_survives(tmp_path: Path) -> None:
    """Six processes, killed at random moments, two of them at work at the same time."""
    path, chance = tmp_path / "ledger.db", random.Random(1)
    acknowledged: list[str] = []
    for number in range(0, 6, 2):
        pair = [start(path, f"worker-{number + i}") for i in (0, 1)]
        for process in pair:
            acknowledged += kill(process, chance.randrange(1, 300))
    ledger = SqliteLedger(path, "judge", ManualClock())
    for line in acknowledged:
        name, recorded = line.split()
        assert recorded == "True"
        row = await ledger.get_transfer(transfer(name).id)
        assert row is not None
        assert row.state is (State.DEAD if name.endswith("-4") else State.DONE)
        letter = await ledger.get_dead_letter(row.transfer.id)
        assert (letter is not None) == (row.state is State.DEAD)
        assert (await ledger.get_placements("to", [row.transfer.key]) == [None]) == (row.state is State.DEAD)
    assert sum((await ledger.count_transfers()).values()) == len(await listed(ledger))
    await ledger.close()
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert db.execute("SELECT count(*) FROM leases").fetchone() == (0,)


async def listed(ledger: SqliteLedger) -> set[str]:
    """The ids of all transfers."""
    page = await ledger.list_transfers(Filter(), limit=1000)
    found = {row.transfer.id for row in page.items}
    while page.cursor:
        page = await ledger.list_transfers(Filter(), page.cursor, 1000)
        found |= {row.transfer.id for row in page.items}
    return found


async def test_the_dead_are_noticed_by_the_living(tmp_path: Path) -> None:
    """A key leased for an hour by a dead process is free within seconds, and at once for a new process; it counts as lost."""
    path, clock = tmp_path / "ledger.db", ManualClock()
    process = start(path, "mortal")
    held = transfer("held by mortal")
    living = SqliteLedger(path, "living", clock)
    (answer,) = await living.claim([held])
    assert isinstance(answer, Wait)
    assert answer.busy
    kill(process, 1)
    await clock.advance(3)
    (claim,) = await living.claim([held])
    assert isinstance(claim, Claim)
    assert claim.lost == 1
    await living.close()


async def test_a_new_process_frees_the_leases_of_dead_ones(tmp_path: Path) -> None:
    """Also under the name of the dead."""
    path = tmp_path / "ledger.db"
    kill(start(path, "mortal"), 1)
    reborn = SqliteLedger(path, "mortal", ManualClock())
    (claim,) = await reborn.claim([transfer("held by mortal")])
    assert isinstance(claim, Claim)
    assert claim.lost == 1
    await reborn.close()
