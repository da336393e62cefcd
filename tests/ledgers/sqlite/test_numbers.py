"""Fences and other numbers of a ledger in SQLite: reserved in blocks, never given out twice, and without a write for each claim."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from itertools import count
from pathlib import Path

import pytest
from tests.ledgers.sqlite.old_program import OldProgram, make_file

from skyferry.clock import SystemClock
from skyferry.errors import LedgerError
from skyferry.ledgers import rules
from skyferry.ledgers.sqlite.batch import BLOCK
from skyferry.ledgers.sqlite.ledger import SqliteLedger
from skyferry.model import State
from skyferry.ports import Retry
from skyferry.testing.clock import ManualClock
from skyferry.testing.ledger.harness import claim, done, failure, finish, settle, transfer

NAMES = count()  # of transfers


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


async def take_turns(*ledgers: SqliteLedger, rounds: int) -> list[int]:
    """Return the fences of one key, which each ledger has in its turn, for one claim or for several."""
    fences = []
    for number in range(rounds):
        for ledger in ledgers:
            for _ in range(1 + number % 3):
                [held] = await claim(ledger, transfer(f"{next(NAMES)}", "key"))
                fences.append(held.fence)
                await settle(ledger, held, done(held))
    return fences


async def test_fences_of_a_key_grow_across_processes_and_restarts(path: Path) -> None:
    fences = []
    for start in range(3):
        one, two = (SqliteLedger(path, name, ManualClock()) for name in ("one", "two"))
        fences += await take_turns(one, two, rounds=4 + start)
        await two.close()
        fences += await take_turns(one, rounds=5)
        await one.close()
    assert fences == sorted(set(fences))


async def test_a_lost_reservation_is_not_used(path: Path) -> None:
    """A transaction that fails takes it back, and another process may reserve the same numbers."""
    one, two = (SqliteLedger(path, name, ManualClock()) for name in ("one", "two"))

    def fail(db: sqlite3.Connection) -> None:
        one._claim(db, [transfer("lost")], 0.0)
        raise sqlite3.OperationalError("disk I/O error")

    with pytest.raises(LedgerError, match="disk I/O error"):
        await one._file.write(fail)
    fences = [held.fence for held in await claim(two, *(transfer(f"two {n}") for n in range(3)))]
    fences += [held.fence for held in await claim(one, *(transfer(f"one {n}") for n in range(3)))]
    fences += [held.fence for held in await claim(two, transfer("again"))]
    assert fences == sorted(set(fences))
    assert (await one.count_transfers())[State.CLAIMED] == 7
    for ledger in (one, two):
        await ledger.close()


async def test_claims_write_no_counter(path: Path) -> None:
    """But three for each block of numbers, also if each is a transaction of its own."""
    ledger = SqliteLedger(path, "one", ManualClock())
    statements: list[str] = []
    await ledger._file.write(lambda db: db.set_trace_callback(statements.append))
    for number in range(300):
        await claim(ledger, transfer(f"{number}"))
    await claim(ledger, *(transfer(f"batch {number}") for number in range(BLOCK)))
    await ledger._file.write(lambda db: db.set_trace_callback(None))
    writes = [sql for sql in statements if "counters" in sql and not sql.startswith("SELECT")]
    assert len(writes) == 6
    await ledger.close()


async def test_readiness_writes_nothing(path: Path) -> None:
    """Neither to the file nor to its log."""
    ledger = SqliteLedger(path, "one", ManualClock())
    await finish(ledger, transfer("t"))
    mine = path.with_name("ledger.db.owners") / "one"
    files = [path, path.with_name(f"{path.name}-wal")]
    size, before = mine.stat().st_size, [(file.read_bytes(), file.stat().st_mtime_ns) for file in files]
    for _ in range(3):
        await ledger.check_writable()
    assert [(file.read_bytes(), file.stat().st_mtime_ns) for file in files] == before
    assert mine.stat().st_size == size
    await ledger.close()


async def test_counts_agree_for_the_release_before(path: Path) -> None:
    """It keeps the number of claimed transfers, which a newer program leaves behind correctly when it ends."""
    make_file(path)
    clock = SystemClock()
    old, new = OldProgram(path, "old"), SqliteLedger(path, "new", clock)
    fence = old.claim(transfer("held"), rules.to_ticks(clock.time()))
    [first, second, _] = await claim(new, *(transfer(f"new {n}") for n in range(3)))
    await settle(new, first, done(first))
    await settle(new, second, Retry(0.0, failure()))
    await claim(new, transfer("new 1"))
    await new.close()
    with closing(sqlite3.connect(path)) as db:
        kept = dict(db.execute("SELECT name, value FROM counters WHERE name LIKE 'state %'"))
        found = {
            f"state {n}": number for n, number in db.execute("SELECT state, count(*) FROM transfers GROUP BY state")
        }
    assert {name: number for name, number in kept.items() if number} == found
    assert fence
    old.close()
