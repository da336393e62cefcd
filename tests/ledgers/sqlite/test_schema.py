"""The schema of a ledger in SQLite: two releases on one file, steps that are interrupted, and files that do not fit."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tests.ledgers.sqlite.old_program import OldProgram, make_file

from skyferry.clock import SystemClock
from skyferry.errors import LedgerError, LedgerIncompatible, QueueIncompatible
from skyferry.ledgers import codec, rules
from skyferry.ledgers.sqlite import schema
from skyferry.ledgers.sqlite.ledger import SqliteLedger
from skyferry.ledgers.sqlite.maintenance import SqliteLedgerMaintenance
from skyferry.ledgers.sqlite.schema import HISTORY
from skyferry.model import State
from skyferry.queues.sqlite.queue import SqliteQueue
from skyferry.sql.schema_steps import SchemaHistory, order_steps
from skyferry.testing.clock import ManualClock
from skyferry.testing.ledger.harness import claim, done, finish, settle, transfer

NUMBERS = "SELECT number, compatible_from FROM schema_version"
NEXT = HISTORY.known + 1
LATER = (
    (f"{NEXT:04}-expand-notes.sql", "CREATE TABLE notes (n INTEGER); CREATE INDEX notes_n ON notes (n);"),
    (f"{NEXT:04}-contract-notes.sql", "DROP TABLE identities;"),
)


def make_later_history() -> SchemaHistory:
    """Return the steps of the release after this one."""
    steps = [*HISTORY.steps, *order_steps(LATER, first=NEXT)]
    return SchemaHistory("ledger", "transfers", LedgerIncompatible, tuple(steps))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> SchemaHistory:
    """The next release, for `ledger migrate`; ledgers that are opened are of this release."""
    history = make_later_history()
    monkeypatch.setattr(schema, "HISTORY", history)
    return history


def maintain(path: Path, owner: str = "migration") -> SqliteLedgerMaintenance:
    return SqliteLedgerMaintenance(path, owner, SystemClock(), 30.0)


async def migrate(path: Path, owner: str = "migration") -> list[str]:
    return [step async for step in maintain(path, owner).migrate()]


def read_numbers(path: Path) -> tuple[int, int]:
    with closing(sqlite3.connect(path)) as db:
        found: tuple[int, int] = db.execute(NUMBERS).fetchone()
    return found


async def test_a_release_works_beside_the_one_before_it(path: Path) -> None:
    """On one file, which the newer one expands; each settles what it has claimed, and fences of a key only grow."""
    make_file(path)
    old, clock = OldProgram(path, "old"), SystemClock()
    first = transfer("first")
    fences = [old.claim(first, rules.to_ticks(clock.time()))]
    new = SqliteLedger(path, "new", clock)
    held = await claim(new, transfer("second"))
    receipt = done(held[0])
    packed = codec.pack_receipt(receipt.receipt), codec.pack_placement(receipt.placement)
    for number in range(3):
        at = rules.to_ticks(clock.time())
        last = first if number == 0 else transfer(f"old {number}", first.key)
        if number:
            fences.append(old.claim(last, at))
        old.settle(last, fences[-1], *packed, at)
        [again] = await claim(new, transfer(f"new {number}", first.key))
        fences.append(again.fence)
        assert await settle(new, again, done(again))
    assert await settle(new, held[0], receipt)
    late = OldProgram(path, "of the older release, and started later")
    fences.append(late.claim(transfer("late", first.key), rules.to_ticks(clock.time())))
    assert fences == sorted(set(fences))
    assert await new.count_transfers() == {state: {"claimed": 1, "done": 7}.get(state, 0) for state in State}
    assert {row.state for row in [await new.get_transfer(first.id)] if row} == {State.DONE}
    assert read_numbers(path) == (HISTORY.known, 1)
    assert await maintain(path).find_damage() == []
    for each in (old, late):
        each.close()
    await new.close()


async def test_a_newer_schema_that_is_compatible_is_used(path: Path) -> None:
    await SqliteLedger(path, "one", SystemClock()).close()
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE schema_version SET number = ?", (NEXT,))
    ledger = SqliteLedger(path, "one", SystemClock())
    await finish(ledger, transfer("t"))
    await ledger.close()
    assert read_numbers(path) == (NEXT, 1)


async def test_a_ledger_that_is_too_new_is_refused(path: Path) -> None:
    """By name, with the instruction; `ledger status` still describes it."""
    await SqliteLedger(path, "one", SystemClock()).close()
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE schema_version SET number = 99, compatible_from = 98")
    says = rf"ledger\.db: .*from version 98, and this Skyferry knows {HISTORY.known} \(Update Skyferry"
    with pytest.raises(LedgerIncompatible, match=says):
        SqliteLedger(path, "two", SystemClock())
    with pytest.raises(LedgerIncompatible, match=says):
        await migrate(path)
    status = await maintain(path).read_status()
    assert (status.version, status.compatible_from, status.known, status.transfers) == (99, 98, HISTORY.known, None)


async def test_a_ledger_that_is_too_new_is_not_called_damaged(path: Path) -> None:
    """A rebuild would put an empty ledger in its place, for a contraction has removed what this release looks for."""
    await SqliteLedger(path, "one", SystemClock()).close()
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE schema_version SET number = 99, compatible_from = 98")
        db.execute("DROP TABLE places")
    before = path.read_bytes()
    says = "from version 98, and this Skyferry knows"
    with pytest.raises(LedgerIncompatible, match=says):
        await maintain(path).find_damage()
    with pytest.raises(LedgerIncompatible, match=says):
        await maintain(path).back_up(path.parent)
    for add in (False, True):
        with pytest.raises(LedgerIncompatible, match=says):
            async with maintain(path).rebuild(add=add):
                pass
    assert path.read_bytes() == before
    assert not [*path.parent.glob("*.damaged-*"), *path.parent.glob("*.part")]


async def test_a_file_of_something_else_is_refused(path: Path) -> None:
    """It is not changed."""
    await SqliteQueue(path, "q", "one", ManualClock()).close()
    with pytest.raises(LedgerIncompatible, match=r"no table 'transfers'.*Correct the path"):
        SqliteLedger(path, "one", ManualClock())
    with pytest.raises(LedgerIncompatible, match="no table 'transfers'"):
        await maintain(path).read_status()
    other = path.with_name("other.db")
    await SqliteLedger(other, "one", ManualClock()).close()
    with pytest.raises(QueueIncompatible, match="no table 'message'"):
        SqliteQueue(other, "q", "one", ManualClock())
    with closing(sqlite3.connect(path)) as db:
        assert not db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'transfers'").fetchall()


async def test_a_migration_says_each_step_once(path: Path, later: SchemaHistory) -> None:
    """A second one has nothing to do."""
    make_file(path)
    assert (await maintain(path).read_status()).pending == tuple(map(str, later.steps))
    assert await migrate(path) == [str(step) for step in later.steps]
    assert await migrate(path) == []
    assert read_numbers(path) == (NEXT, NEXT)
    assert (await maintain(path).read_status()).pending == ()


async def test_of_two_migrations_one_waits(path: Path, later: SchemaHistory) -> None:
    """Both succeed, and no step is applied twice."""
    make_file(path)
    both = await asyncio.gather(*(migrate(path, name) for name in "ab"))
    assert sorted([*both[0], *both[1]]) == sorted(map(str, later.steps))


@pytest.mark.usefixtures("later")
async def test_a_contraction_waits_for_older_programs(path: Path) -> None:
    """Expansions do not; a program that has ended is no obstacle."""
    old, ledger = OldProgram(path, "of the first release"), SqliteLedger(path, "of this release", SystemClock())
    for name in ("of the first release", "of this release"):
        with pytest.raises(LedgerError, match=rf"contract: notes waits for an older program: {name} \(Stop or update"):
            await migrate(path)
        assert read_numbers(path) == (NEXT, 1)
        if name == "of this release":
            await ledger.close()
        else:
            old.close()
    assert await migrate(path) == [f"{NEXT:04} contract: notes"]
    with pytest.raises(LedgerIncompatible):
        SqliteLedger(path, "of this release", SystemClock())


KILLED = """
import sys, sqlite3, time
from pathlib import Path
from skyferry.errors import LedgerError
from skyferry.sql.schema_steps import SchemaHistory, order_steps
from skyferry.sqlite.schema import apply_next_step, connect

steps = order_steps([("0001-expand-a.sql", "CREATE TABLE a (n); INSERT INTO a VALUES (1); SELECT wait();")])
history = SchemaHistory("ledger", "a", LedgerError, steps)
db = connect(Path(sys.argv[1]), history)
db.create_function("wait", 0, lambda: print("inside", flush=True) or time.sleep(600))
apply_next_step(db, history, "here")
"""


async def test_a_killed_migration_leaves_the_step_to_the_next(path: Path) -> None:
    """Killed by the system in the middle of a step."""
    with subprocess.Popen([sys.executable, "-c", KILLED, str(path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "inside\n"
        process.send_signal(signal.SIGKILL)
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT * FROM sqlite_schema").fetchall() == []
    assert await migrate(path) == [str(step) for step in HISTORY.steps]
    ledger = SqliteLedger(path, "one", SystemClock())
    await finish(ledger, transfer("t"))
    await ledger.close()


async def test_a_failed_step_changes_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file stays usable by this release."""
    await SqliteLedger(path, "one", SystemClock()).close()
    wrong = order_steps([(LATER[0][0], "CREATE TABLE notes (n); INSERT INTO missing VALUES (1);")], first=NEXT)
    monkeypatch.setattr(
        schema, "HISTORY", SchemaHistory("ledger", "transfers", LedgerIncompatible, (*HISTORY.steps, *wrong))
    )
    with pytest.raises(LedgerError, match=r"ledger\.db: no such table: missing"):
        await migrate(path)
    assert read_numbers(path) == (HISTORY.known, 1)
    with closing(sqlite3.connect(path)) as db:
        assert not db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'notes'").fetchall()
    await SqliteLedger(path, "one", SystemClock()).close()


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user may read."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


async def test_a_file_that_may_not_be_written_is_named(open_folder: Path) -> None:
    """With the right that is missing."""
    path = open_folder / "ledger.db"
    make_file(path)
    path.chmod(0o444)
    (owners := path.with_name("ledger.db.owners")).mkdir()
    owners.chmod(0o777)
    if root := os.geteuid() == 0:
        os.seteuid(65533)
    else:
        open_folder.chmod(0o555)
    try:
        with pytest.raises(LedgerError, match=r"ledger\.db"):
            await migrate(path)
    finally:
        if root:
            os.seteuid(0)
        else:
            open_folder.chmod(0o755)
    with closing(sqlite3.connect(path)) as db:
        assert not db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'schema_version'").fetchall()


async def test_a_file_of_another_program_stays_as_it_is(tmp_path: Path) -> None:
    """Also its journal mode, which is kept in the file."""
    with closing(sqlite3.connect(path := tmp_path / "other.db")) as db:
        db.execute("CREATE TABLE other (a)")
    before = path.read_bytes()
    with pytest.raises(LedgerIncompatible, match="not of Skyferry's ledger"):
        SqliteLedger(path, "me", ManualClock())
    with pytest.raises(LedgerIncompatible, match="not of Skyferry's ledger"):
        async for _ in SqliteLedgerMaintenance(path, "me", ManualClock(), 30.0).migrate():
            pass
    with pytest.raises(QueueIncompatible, match="not of Skyferry's queue"):
        SqliteQueue(path, "queue", "me", ManualClock())
    assert path.read_bytes() == before
