"""The log that a killed process leaves is applied to its own file, wherever that is, and to no other."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from skyferry.errors import LedgerError, QueueError
from skyferry.ledgers.sqlite.ledger import SqliteLedger
from skyferry.ledgers.sqlite.maintenance import SqliteLedgerMaintenance
from skyferry.ports import Outgoing
from skyferry.queues.sqlite.maintenance import SqliteQueueFile
from skyferry.queues.sqlite.queue import SqliteQueue
from skyferry.sql.schema_steps import SchemaHistory
from skyferry.sqlite.file import SqliteFile
from skyferry.sqlite.log import require_own_log
from skyferry.testing.clock import ManualClock

WRITER = Path(__file__).with_name("writer.py")
FOREIGN = "belongs to another file"
Backup = Callable[[Path, Path], None]


class Writer:
    """A process that writes to a ledger."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.said = self._read()

    def write(self, name: str) -> str:
        """Return what it says about it."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{name}\n")
        self._process.stdin.flush()
        return self._read()

    def _read(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


@contextmanager
def start_writer(file: Path, name: str = "writer") -> Iterator[Writer]:
    """Run a process, and kill it in the end."""
    command = [sys.executable, str(WRITER), str(file), name]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Writer(process)
        finally:
            process.kill()


async def write(file: Path, *names: str) -> None:
    ledger = SqliteLedger(file, "me", ManualClock())
    for name in names:
        await ledger.set_identity(name, "x" * 3000)
    await ledger.close()


async def read(file: Path, *names: str) -> list[bool]:
    """Return which of the rows a ledger has."""
    ledger = SqliteLedger(file, "me", ManualClock())
    found = [bool(await ledger.get_identity(name)) for name in names]
    await ledger.close()
    assert await maintain(file).find_damage() == []
    return found


def maintain(file: Path) -> SqliteLedgerMaintenance:
    return SqliteLedgerMaintenance(file, "check", ManualClock(), 30.0)


def back_up_with_sqlite(file: Path, target: Path) -> None:
    with closing(sqlite3.connect(file)) as db, closing(sqlite3.connect(target)) as copy:
        db.backup(copy)


def vacuum(file: Path, target: Path) -> None:
    with closing(sqlite3.connect(file)) as db:
        db.execute("VACUUM INTO ?", (str(target),))


def move_log_away(file: Path) -> None:
    for suffix in ("-wal", "-shm"):
        file.with_name(f"{file.name}{suffix}").rename(file.with_name(f"away{suffix}"))


@pytest.mark.parametrize("put", [os.replace, shutil.copyfile], ids=["moved", "copied over it"])
@pytest.mark.parametrize("back_up", [shutil.copyfile, back_up_with_sqlite, vacuum], ids=lambda each: each.__name__)
async def test_the_log_of_a_file_is_not_applied_to_its_backup(tmp_path: Path, back_up: Backup, put: Backup) -> None:
    """The process was killed before or after the backup came to its place; no command reads or changes the mixture."""
    await write(file := tmp_path / "ledger.db", "backed up")
    back_up(file, backup := tmp_path / "backup.db")
    content = backup.read_bytes()
    await write(file, "later")
    with start_writer(file) as writer:
        for number in range(20):
            assert writer.write(f"left in the log {number}") == "written"
        if put is os.replace:
            put(backup, file)
    if put is not os.replace:
        put(backup, file)
    with pytest.raises(LedgerError, match=FOREIGN) as caught:
        SqliteLedger(file, "me", ManualClock())
    assert "move the log (-wal) and the -shm file away" in caught.value.hint
    for quick in (True, False):
        with pytest.raises(LedgerError, match=FOREIGN) as caught:
            await maintain(file).find_damage(quick=quick)
        assert "move the log (-wal) and the -shm file away" in caught.value.hint
    with pytest.raises(LedgerError, match=FOREIGN):
        async with maintain(file).rebuild():  # it would lose the dead letters of a file that is whole
            pass
    with pytest.raises(LedgerError, match=FOREIGN):
        await maintain(file).back_up(tmp_path / "second.db")
    with pytest.raises(LedgerError, match=FOREIGN):
        await maintain(file).read_status()
    with pytest.raises(LedgerError, match=FOREIGN):
        async for _ in maintain(file).migrate():
            pass
    assert file.read_bytes() == content
    move_log_away(file)
    assert await read(file, "backed up", "later", "left in the log 0") == [True, False, False]


async def test_the_log_of_a_ledger_is_not_applied_to_another_ledger(tmp_path: Path) -> None:
    """One of the same age, as of another workspace."""
    other, file = tmp_path / "other.db", tmp_path / "ledger.db"
    await write(other, "other")
    await write(file, "own")
    with start_writer(file) as writer:
        writer.write("left in the log")
    other.replace(file)
    with pytest.raises(LedgerError, match=FOREIGN):
        SqliteLedger(file, "me", ManualClock())


async def test_a_backup_of_an_open_ledger_is_another_file(tmp_path: Path) -> None:
    """Although all that it has is in the log as well: its processes were taken out of it."""
    await write(file := tmp_path / "ledger.db", "first")
    with start_writer(file) as writer:
        writer.write("before")
        await maintain(file).back_up(tmp_path / "backup.db")
        writer.write("after")
    os.replace(tmp_path / "backup.db", file)
    with pytest.raises(LedgerError, match=FOREIGN):
        SqliteLedger(file, "me", ManualClock())
    move_log_away(file)
    assert await read(file, "first", "before", "after") == [True, True, False]


async def test_a_later_round_of_the_log_is_not_applied_to_a_backup_of_an_earlier_one(tmp_path: Path) -> None:
    """Within one opening: SQLite begins the log anew once all of it was written back."""
    file, earlier = tmp_path / "ledger.db", tmp_path / "earlier.db"
    await write(file, "first")
    with start_writer(file) as writer:
        writer.write("first round")
        back_up_with_sqlite(file, earlier)
        writer.write("first round again")
        with closing(sqlite3.connect(file)) as db:
            assert db.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()[0] == 0
        writer.write("second round")
        writer.write("second round again")
    require_own_log(file)
    earlier.replace(file)
    with pytest.raises(LedgerError, match=FOREIGN):
        SqliteLedger(file, "me", ManualClock())


async def test_a_log_is_not_applied_to_a_vacuumed_copy_of_its_own_round(tmp_path: Path) -> None:
    """It has the marks of a transaction of the log, but its pages are in another order."""
    await write(file := tmp_path / "ledger.db", "first")
    with start_writer(file) as writer:
        writer.write("before")
        vacuum(file, backup := tmp_path / "backup.db")
        writer.write("after")
    backup.replace(file)
    with pytest.raises(LedgerError, match=FOREIGN):
        SqliteLedger(file, "me", ManualClock())


@pytest.mark.parametrize("checkpoint", ["", "PASSIVE", "RESTART", "TRUNCATE"])
async def test_a_file_goes_on_with_its_own_log(tmp_path: Path, checkpoint: str) -> None:
    """Also as copies with other inodes, in another folder, as where a volume was restored or the machine changed."""
    await write(file := tmp_path / "ledger.db", "first")
    with start_writer(file) as writer:
        writer.write("before")
        if checkpoint:
            with closing(sqlite3.connect(file)) as db:
                db.execute(f"PRAGMA wal_checkpoint({checkpoint})")
        writer.write("after")
    (tmp_path / "copy").mkdir()
    for each in tmp_path.glob("ledger.db*"):
        if each.is_file() and not each.name.endswith("-shm"):
            shutil.copyfile(each, tmp_path / "copy" / each.name)
    for each in (tmp_path / "copy" / "ledger.db", file):
        assert await read(each, "first", "before", "after") == [True, True, True]


async def test_a_file_from_before_there_were_marks_goes_on_with_its_own_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a release that did not mark its commits, and then of this one."""
    file = tmp_path / "ledger.db"
    for name in ("mark_commit", "mark_opening"):
        monkeypatch.setattr(f"skyferry.sqlite.file.{name}", lambda db: None)
    old = SqliteLedger(file, "old", ManualClock())
    await old.set_identity("old", "x")
    (tmp_path / "copy").mkdir()
    for suffix in ("", "-wal"):
        shutil.copyfile(f"{file}{suffix}", tmp_path / "copy" / f"ledger.db{suffix}")
    await old.close()
    monkeypatch.undo()
    with start_writer(tmp_path / "copy" / "ledger.db") as writer:
        assert writer.said == "ready"
        writer.write("new")
    assert await read(tmp_path / "copy" / "ledger.db", "old", "new") == [True, True]


async def test_readers_of_a_file_in_use_see_no_foreign_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However often it is written back, and begun anew, while they look."""
    connect = SqliteFile._connect

    def connect_restless(self: SqliteFile, history: SchemaHistory) -> sqlite3.Connection:
        connection = connect(self, history)
        connection.execute("PRAGMA wal_autocheckpoint=3")
        return connection

    monkeypatch.setattr(SqliteFile, "_connect", connect_restless)
    ledger = SqliteLedger(tmp_path / "ledger.db", "me", ManualClock())
    for number in range(300):
        await ledger.set_identity(f"{number % 40}", "x" * 100 * (number % 50))
        require_own_log(tmp_path / "ledger.db")
    await ledger.close()


async def test_a_log_without_its_file_is_kept(tmp_path: Path) -> None:
    """SQLite would delete it beside a new file. The old one may have been moved away by mistake."""
    await write(file := tmp_path / "ledger.db", "first")
    with start_writer(file) as writer:
        writer.write("in the log")
    file.rename(tmp_path / "away")
    with pytest.raises(LedgerError, match="its file is not"):
        SqliteLedger(file, "me", ManualClock())
    assert not file.exists()
    (tmp_path / "away").rename(file)
    assert await read(file, "first", "in the log") == [True, True]


async def test_a_queue_is_not_opened_with_the_log_of_another_one(tmp_path: Path) -> None:
    """Nor looked into."""
    file = tmp_path / "queue.db"
    old = SqliteQueue(file, "queue", "old", ManualClock())
    await old.send([Outgoing(b"old")])
    shutil.copyfile(f"{file}-wal", tmp_path / "log")
    await old.close()
    file.unlink()
    new = SqliteQueue(file, "queue", "new", ManualClock())
    await new.send([Outgoing(b"new")])
    await new.close()
    shutil.copyfile(tmp_path / "log", f"{file}-wal")
    with pytest.raises(QueueError, match=FOREIGN):
        SqliteQueue(file, "queue", "me", ManualClock())
    with pytest.raises(QueueError, match=FOREIGN):
        await SqliteQueueFile(file, ManualClock()).read_depth()
    with pytest.raises(QueueError, match=FOREIGN):
        await SqliteQueueFile(file, ManualClock()).find_damage()


async def test_a_process_does_not_start_on_another_file_than_a_running_one(tmp_path: Path) -> None:
    """They would share one log. The running one leaves nothing in it, and the next one may start."""
    await write(file := tmp_path / "ledger.db", "first")
    await maintain(file).back_up(tmp_path / "backup.db")
    with start_writer(file, "running") as running:
        running.write("old")
        file.rename(tmp_path / "away")
        (tmp_path / "backup.db").rename(file)
        with start_writer(file, "second") as second:
            assert "running has it open" in second.said
        with suppress(StopAsyncIteration), pytest.raises(LedgerError, match="running has it open"):
            await anext(maintain(file).migrate())
        assert "another file is at its path" in running.write("refused")
        assert Path(f"{file}-wal").stat().st_size == 0
    assert await read(file, "first", "old", "refused") == [True, False, False]
    assert await read(tmp_path / "away", "first", "old", "refused") == [True, True, False]


@pytest.mark.parametrize("suffix", ["-wal", "-shm"])
async def test_a_process_whose_log_is_gone_writes_nothing_more(tmp_path: Path, suffix: str) -> None:
    """Even if it is killed then, the file has all that it acknowledged. Processes that start meanwhile are refused."""
    await write(file := tmp_path / "ledger.db", "first")
    with start_writer(file, "running") as running:
        running.write("before")
        Path(f"{file}{suffix}").unlink()
        with start_writer(file, "second") as second:
            assert "running has it open" in second.said
        assert f"{file}{suffix}: it was moved away or deleted" in running.write("refused")
    assert await read(file, "first", "before", "refused") == [True, True, False]


async def test_a_file_behind_a_link_has_its_log_where_the_link_leads(tmp_path: Path) -> None:
    """A command that only reads finds there what the log has."""
    (tmp_path / "disk").mkdir()
    (file := tmp_path / "ledger.db").symlink_to(tmp_path / "disk" / "ledger.db")
    with start_writer(file) as writer:
        writer.write("in the log")
        async with maintain(file).read_records() as records:
            assert await records.get_identity("in the log")
        assert (tmp_path / "disk" / "ledger.db-wal").exists()
        assert not (tmp_path / "ledger.db-wal").exists()


async def test_a_log_whose_first_transaction_is_not_whole_hinders_nothing(tmp_path: Path) -> None:
    """SQLite writes the header of a frame before its page, and a process may be killed in between."""
    await write(file := tmp_path / "ledger.db", "first")
    with start_writer(file) as writer:
        writer.write("later")
    with Path(f"{file}-wal").open("r+b") as log:
        log.truncate(56)
        log.seek(56)
        log.write(b"x" * 4096)
    assert await read(file, "first", "later") == [True, False]
