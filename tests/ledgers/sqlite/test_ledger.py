"""The SQLite ledger keeps the contract."""

from __future__ import annotations

import re
import resource
import sqlite3
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from skyferry.errors import LedgerError
from skyferry.ledgers.sqlite import batch, claims, dead_letters, housekeeping, queries, settlements
from skyferry.ledgers.sqlite.ledger import SqliteLedger
from skyferry.ledgers.sqlite.schema import HISTORY
from skyferry.model import State
from skyferry.ports import Filter, HeldFilter, Ledger, Purpose, Retry, Settlement, Skipped
from skyferry.sqlite import file
from skyferry.sqlite.owners import OwnerLock
from skyferry.sqlite.quiet_time import AGAIN
from skyferry.testing.clock import ManualClock
from skyferry.testing.ledger import LedgerConformance, LedgerHarness
from skyferry.testing.ledger.dead_letters import BURIED
from skyferry.testing.ledger.harness import claim, done, failure, finish, settle, transfer
from skyferry.testing.ledger.held_deletes import make_held_delete
from skyferry.testing.ledger.refusals import UNROUTED
from skyferry.testing.ledger.uploads import make_progress


class SqliteHarness(LedgerHarness):
    """Ledgers on one file."""

    keeps_leases = False  # other processes notice its end, and free its keys

    def __init__(self, path: Path) -> None:
        self.path = path
        self.clock = ManualClock()
        self.opened: list[SqliteLedger] = []

    async def open(self, owner: str, lease: float = 30.0) -> Ledger:
        self.opened.append(SqliteLedger(self.path, owner, self.clock, lease))
        return self.opened[-1]

    async def pass_time(self, seconds: float) -> None:
        await self.clock.advance(seconds)

    async def now(self) -> float:
        return self.clock.time()

    async def close(self) -> None:
        """All of them."""
        for ledger in self.opened:
            await ledger.close()


class TestSqliteLedger(LedgerConformance):
    """The contract."""

    @pytest.fixture
    async def harness(self, tmp_path: Path) -> AsyncIterator[LedgerHarness]:
        harness = SqliteHarness(tmp_path / "ledger.db")
        yield harness
        await harness.close()


async def test_two_of_one_name_cannot_be(tmp_path: Path) -> None:
    """A live process keeps its name to itself."""
    first = SqliteLedger(tmp_path / "ledger.db", "name", ManualClock())
    with pytest.raises(LedgerError, match="name"):
        SqliteLedger(tmp_path / "ledger.db", "name", ManualClock())
    await first.close()


async def test_a_file_that_is_no_ledger_is_refused(tmp_path: Path) -> None:
    """With the file's name."""
    path = tmp_path / "ledger.db"
    path.write_bytes(b"something else" * 1000)
    with pytest.raises(LedgerError, match=r"ledger\.db"):
        SqliteLedger(path, "one", ManualClock())


@pytest.mark.parametrize("count", [1, 3, 255, 256, 257, 600])
async def test_batches_of_any_size_are_whole(tmp_path: Path, count: int) -> None:
    """Claimed, settled and found again."""
    ledger = SqliteLedger(tmp_path / "ledger.db", "one", ManualClock())
    claims = await claim(ledger, *(transfer(f"{number}") for number in range(count)))
    assert await ledger.settle([Settlement(c, done(c)) for c in claims]) == [True] * count
    assert (await ledger.count_transfers())[State.DONE] == count
    placed = await ledger.get_placements("to", [c.transfer.key for c in claims])
    assert [p.transfer_id for p in placed if p] == [c.transfer.id for c in claims]
    await ledger.close()


async def test_a_file_of_before_refusals_opens(tmp_path: Path) -> None:
    """Its letters stay, and new ones are grouped."""
    path = tmp_path / "ledger.db"
    ledger = SqliteLedger(path, "one", ManualClock())
    await ledger.add_dead_letters([BURIED])
    await ledger.close()
    with closing(sqlite3.connect(path)) as db:
        db.executescript("DROP INDEX letters_by_bucket; ALTER TABLE letters DROP COLUMN bucket; DROP TABLE refusals;")
        db.execute("DROP TABLE schema_version")
    ledger = SqliteLedger(path, "one", ManualClock())
    await ledger.add_dead_letters([UNROUTED])
    assert await ledger.count_unrouted() == [("aws_s3://nc", 1)]
    assert await ledger.get_dead_letter("buried") == BURIED
    await ledger.close()


BATCHES = {
    name: sql
    for module, names in (
        (batch, ["look"]),
        (claims, ["take_transfers", "held", "extend"]),
        (settlements, ["settle", "free"]),
        (queries, ["failures"]),
        (dead_letters, ["drop_redriven"]),
    )
    for name, sql in module.SQL.items()
    if name in names
}


@pytest.mark.parametrize("name", BATCHES)
def test_no_batch_scans_a_table(name: str) -> None:
    """Every step of the plan is a search by an index, so that the size of the ledger does not matter."""
    with closing(sqlite3.connect(":memory:")) as db:
        db.executescript(HISTORY.sql)
        row = "(1, 2, 3, 4, 5, 6)"
        sql = BATCHES[name].replace(":rows", f"{row}, {row}")
        plan = db.execute(f"EXPLAIN QUERY PLAN {sql}", defaultdict(int)).fetchall()
    scans = [step for *_, step in plan if step.startswith("SCAN")]
    assert not [step for step in scans if not re.match(r"SCAN (i|json_each|\(subquery-1\)|\d+ CONSTANT ROWS)", step)], (
        scans
    )


async def test_a_transfer_is_found_by_its_id_however_many_there_are(tmp_path: Path) -> None:
    """Ids are indexed in parts; serials are made to leap over several of them."""
    for number in range(4):
        ledger = SqliteLedger(tmp_path / "ledger.db", "one", ManualClock())
        await claim(ledger, transfer(f"{number}"))
        await ledger.close()
        with closing(sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)) as db:
            db.execute("UPDATE counters SET value = value + 100000 WHERE name = 'serial'")
    ledger = SqliteLedger(tmp_path / "ledger.db", "one", ManualClock())
    for number in range(4):
        row = await ledger.get_transfer(transfer(f"{number}").id)
        assert row is not None
        assert row.transfer == transfer(f"{number}")
    await ledger.close()


@pytest.mark.parametrize(
    ("where", "index"),
    [
        (Filter(), "transfers_by_state"),
        (Filter(state=State.DONE, route="r"), "transfers_by_state"),
        (Filter(key_prefix="a/"), "transfers_by_place"),
        (Filter(source_key="a"), "transfers_by_source"),
    ],
    ids=repr,
)
async def test_listings_search_an_index(tmp_path: Path, where: Filter, index: str) -> None:
    """The state, the key and the source's key lead."""
    ledger = SqliteLedger(tmp_path / "ledger.db", "one", ManualClock())
    await claim(ledger, transfer("a", "a/1"))
    await ledger.close()
    asked: list[str] = []
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as db:
        db.set_trace_callback(asked.append)
        queries.list_transfers(db, where, "", 10, 0)
        db.set_trace_callback(None)
        steps = [step for sql in asked for *_, step in db.execute(f"EXPLAIN QUERY PLAN {sql}")]
    assert any(index in step for step in steps), steps
    assert not [step for step in steps if re.match(r"SCAN (t|transfers|places)\b", step)], steps


async def test_a_file_from_before_letters_were_published_is_brought_along(tmp_path: Path) -> None:
    """Its letters are published like those buried since."""
    path = tmp_path / "ledger.db"
    old = SqliteLedger(path, "old", ManualClock())
    await old.add_dead_letters([BURIED])
    await old.close()
    with closing(sqlite3.connect(path)) as db:
        db.execute("DROP INDEX letters_unpublished")
        db.execute("ALTER TABLE letters DROP COLUMN publish_at")
        db.execute("DROP TABLE schema_version")
    for owner in ("one", "two"):
        ledger = SqliteLedger(path, owner, ManualClock())
        assert await ledger.take_letters(Purpose.PUBLISH, 10, 0.0) == [BURIED]
        await ledger.close()


async def test_an_upload_from_before_uploads_had_secrets_is_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    old = SqliteLedger(path, "old", ManualClock())
    [held] = await claim(old, transfer("t"))
    await old.save_progress([(held, make_progress(held, 1))])
    await old.close()
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE uploads SET progress = json_remove(progress, '$[6]')")
    new = SqliteLedger(path, "new", ManualClock())
    [found] = [each async for each in new.list_uploads()]
    assert found.upload == replace(make_progress(held).upload, secret="")
    await new.close()


@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("find_publish", "letters_unpublished"),
        ("finish_publish", "sqlite_autoindex_letters_1"),
        ("reschedule_publish", "sqlite_autoindex_letters_1"),
        ("find_redrive", "letters_redriven"),
        ("find_redriven", "letters_redriven"),
        ("count_redriven", "letters_redriven"),
    ],
)
async def test_publishing_searches_an_index(tmp_path: Path, name: str, index: str) -> None:
    """It is asked for every second, however many letters lie there."""
    await SqliteLedger(tmp_path / "ledger.db", "one", ManualClock()).close()
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as db:
        sql = dead_letters.SQL[name].replace(":rows", "('a', 1, 2), ('b', 2, 3)")
        plan = [step for *_, step in db.execute(f"EXPLAIN QUERY PLAN {sql}", defaultdict(int))]
    assert any(step.startswith("SEARCH letters USING") and index in step for step in plan), plan


async def test_keys_that_never_held_anything_are_forgotten_with_their_transfers(tmp_path: Path) -> None:
    """But none that holds something, is leased, waits, or has an upload under way."""
    clock, path = ManualClock(), tmp_path / "ledger.db"
    ledger = SqliteLedger(path, "one", clock)
    for key in ("filtered", "held", "leased", "waits", "upload", "both"):
        await finish(ledger, transfer(key, key), None if key == "held" else Skipped("filtered"))
    (leased, uploading, waiting, _) = await claim(
        ledger, *(transfer(f"2{k}", k) for k in ("leased", "upload", "waits", "both"))
    )
    await ledger.save_progress([(uploading, make_progress(uploading))])
    await settle(ledger, uploading, Skipped("filtered"))
    await settle(ledger, waiting, Retry(1e6, failure()))
    await finish(ledger, transfer("2both", "both"), Skipped("gone"))
    await clock.advance(10)
    assert await ledger.prune(0.0, 1) == 1
    assert await ledger.prune(0.0) == 7
    with closing(sqlite3.connect(path)) as db:
        kept = [key for (key,) in db.execute("SELECT key FROM places ORDER BY key")]
    assert kept == ["held", "leased", "upload", "waits"]
    assert await settle(ledger, leased, done(leased))
    await finish(ledger, transfer("again", "filtered"))
    assert (await ledger.get_placements("to", ["filtered"]))[0] is not None
    await ledger.close()


async def test_pruning_keys_searches_indexes(tmp_path: Path) -> None:
    """Of every table that names them."""
    await SqliteLedger(tmp_path / "ledger.db", "one", ManualClock()).close()
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as db:
        plan = [
            step
            for name in ("destinations_of", "prune_destinations")
            for *_, step in db.execute(f"EXPLAIN QUERY PLAN {housekeeping.SQL[name]}", defaultdict(int))
        ]
    assert not [step for step in plan if step.startswith("SCAN") and "json_each" not in step], plan


async def test_a_disk_that_is_full_is_no_ledger_that_can_be_written(tmp_path: Path) -> None:
    """A limit of this process on the size of files is as good as a full disk."""
    path, limit = tmp_path / "ledger.db", resource.getrlimit(resource.RLIMIT_FSIZE)
    ledger = SqliteLedger(path, "me", ManualClock())
    await ledger.check_writable()
    size = path.with_name(f"{path.name}-wal").stat().st_size
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, limit[1]))
        with pytest.raises(LedgerError):
            await ledger.check_writable()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    await ledger.check_writable()
    await ledger.close()


async def test_the_file_is_not_asked_for_redriven_letters_until_a_process_announces_some(
    sqlite: SqliteHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each look wakes a thread, and a worker looks once a second."""
    mine, other = await sqlite.open("mine"), await sqlite.open("other")
    await mine.add_dead_letters([BURIED])
    reads = count_reads(mine, monkeypatch)
    for _ in range(3):
        assert await mine.take_letters(Purpose.REDRIVE, 9, 30.0) == []
    assert reads == ["read"]
    await other.redrive(Filter())
    assert [letter.id for letter in await mine.take_letters(Purpose.REDRIVE, 9, 30.0)] == [BURIED.id]
    await sqlite.pass_time(31)
    assert [letter.id for letter in await mine.take_letters(Purpose.REDRIVE, 9, 30.0)] == [BURIED.id]  # its lease ended


async def test_the_file_is_not_asked_for_approved_deletes_until_a_process_announces_some(
    sqlite: SqliteHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, other, gone = await sqlite.open("mine"), await sqlite.open("other"), make_held_delete("k")
    await mine.hold_deletes([gone])
    reads = count_reads(mine, monkeypatch)
    for _ in range(3):
        assert await mine.list_approved_deletes(9) == []
    assert reads == ["read"]
    await other.approve_deletes(HeldFilter())
    assert [held.id for held in await mine.list_approved_deletes(9)] == [gone.id]


async def test_an_announcement_that_gets_lost_is_made_up_for(
    sqlite: SqliteHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OwnerLock, "announce", lambda self: None)
    mine, other = await sqlite.open("mine"), await sqlite.open("other")
    await mine.add_dead_letters([BURIED])
    assert await mine.take_letters(Purpose.REDRIVE, 9, 30.0) == []
    await other.redrive(Filter())
    now = time.monotonic() + AGAIN
    monkeypatch.setattr(file, "time", SimpleNamespace(monotonic=lambda: now))
    assert [letter.id for letter in await mine.take_letters(Purpose.REDRIVE, 9, 30.0)] == [BURIED.id]


async def test_a_closed_file_says_so_where_announcements_are_looked_for(sqlite: SqliteHarness) -> None:
    mine = await sqlite.open("mine")
    await mine.close()
    with pytest.raises(LedgerError, match="closed"):
        await mine.list_approved_deletes(9)
    with pytest.raises(LedgerError, match="closed"):
        await mine.take_letters(Purpose.REDRIVE, 9, 30.0)


def count_reads(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that grows with each read of a ledger's file."""
    assert isinstance(ledger, SqliteLedger)
    found, read = list[str](), ledger._file.read

    async def counted(operation: Any) -> Any:
        found.append("read")
        return await read(operation)

    monkeypatch.setattr(ledger._file, "read", counted)
    return found


@pytest.fixture
async def sqlite(tmp_path: Path) -> AsyncIterator[SqliteHarness]:
    """A new file."""
    harness = SqliteHarness(tmp_path / "ledger.db")
    yield harness
    await harness.close()
