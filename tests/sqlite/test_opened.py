"""A file that is moved away, deleted or replaced while a process has it open gets nothing more, and works again once it is back."""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path

import pytest
from tests.ledgers.sqlite.test_damage import written

from skyferry.config.load import load
from skyferry.errors import LedgerError, QueueError, SkyferryError
from skyferry.ledgers.sqlite.ledger import SqliteLedger
from skyferry.ledgers.sqlite.maintenance import SqliteLedgerMaintenance
from skyferry.observe import Fanout
from skyferry.ports import Outgoing
from skyferry.queues.sqlite.queue import SqliteQueue
from skyferry.sqlite.owners import OwnerLock
from skyferry.testing.clock import ManualClock
from skyferry.wiring import build_service

PATIENCE = 30.0  # seconds


def move(file: Path) -> None:
    """Move it into another folder, with all that belongs to it."""
    (file.parent / "away").mkdir()
    for each in file.parent.glob(f"{file.name}*"):
        each.rename(file.parent / "away" / each.name)


def replace(file: Path) -> None:
    """Put a copy in its place."""
    shutil.copy(file, copy := file.with_name("copy"))
    file.rename(file.with_name("before"))
    copy.rename(file)


@pytest.mark.parametrize(
    ("act", "said"),
    [(Path.unlink, "moved away or deleted"), (move, "moved away or deleted"), (replace, "another file is at its path")],
    ids=["deleted", "moved", "replaced"],
)
async def test_a_queue_that_is_not_at_its_path_gets_nothing(
    tmp_path: Path, act: Callable[[Path], object], said: str
) -> None:
    """A message that is sent meanwhile is refused, and one that is acknowledged stays."""
    heard: list[SkyferryError | None] = []
    queue = SqliteQueue(tmp_path / "queue.db", "queue", "me", ManualClock(), on_health=heard.append)
    await queue.send([Outgoing(b"1")])
    messages = await queue.receive(1, 0)
    act(tmp_path / "queue.db")
    with pytest.raises(QueueError, match=said) as caught:
        await queue.ack(messages)
    assert (caught.value.where, caught.value.transient) == (str(tmp_path / "queue.db"), False)
    assert "put it back" in caught.value.hint
    with pytest.raises(QueueError, match=said):
        await queue.send([Outgoing(b"2")])
    with pytest.raises(QueueError, match=said):
        await queue.receive(1, 0)
    assert heard[-1] is not None
    depth = await queue.depth()  # the file that was open
    assert (depth.ready, depth.leased) == (0, 1)
    with pytest.raises(QueueError, match=said):
        await queue.close()


async def test_a_queue_that_is_back_works_again(tmp_path: Path) -> None:
    """Nothing is lost, and its health is heard of."""
    heard: list[SkyferryError | None] = []
    queue = SqliteQueue(tmp_path / "queue.db", "queue", "me", ManualClock(), on_health=heard.append)
    await queue.send([Outgoing(b"1")])
    messages = await queue.receive(1, 0)
    (tmp_path / "queue.db").rename(tmp_path / "away")
    with pytest.raises(QueueError):
        await queue.ack(messages)
    (tmp_path / "away").rename(tmp_path / "queue.db")
    await queue.ack(messages)
    assert heard[-1] is None
    assert (await queue.depth()).leased == 0
    await queue.close()


async def test_a_path_is_that_of_the_opening(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process may go to another folder."""
    monkeypatch.chdir(tmp_path)
    queue = SqliteQueue(Path("queue.db"), "queue", "me", ManualClock())
    monkeypatch.chdir("/")
    await queue.send([Outgoing(b"1")])
    monkeypatch.chdir(tmp_path)
    await queue.close()


async def test_a_path_may_go_up_from_a_link(tmp_path: Path) -> None:
    """From where the link leads, as of a workspace on another disk and `sqlite://../queue.db`."""
    (tmp_path / "disk" / "data").mkdir(parents=True)
    (tmp_path / "workspace").symlink_to(tmp_path / "disk" / "data")
    queue = SqliteQueue(tmp_path / "workspace" / ".." / "queue.db", "queue", "me", ManualClock())
    await queue.send([Outgoing(b"1")])
    await queue.close()
    assert (tmp_path / "disk" / "queue.db").exists()


async def test_a_ledger_that_is_not_at_its_path_cannot_be_written(tmp_path: Path) -> None:
    """Else all that is settled from then on would be forgotten."""
    await written(file := tmp_path / "ledger.db")
    ledger = SqliteLedger(file, "me", ManualClock())
    file.rename(tmp_path / "away")
    with pytest.raises(LedgerError, match="moved away or deleted") as caught:
        await ledger.check_writable()
    assert "skyferry ledger rebuild" in caught.value.hint
    (tmp_path / "away").rename(file)
    await ledger.check_writable()
    await ledger.close()


async def test_what_a_reader_kept_in_the_log_is_in_the_moved_file_at_the_end(tmp_path: Path) -> None:
    """The log was written back once before, as far as the reader let it."""
    await written(file := tmp_path / "ledger.db")
    ledger = SqliteLedger(file, "me", ManualClock())
    ledger._file._writer.execute("PRAGMA busy_timeout=0")
    with closing(sqlite3.connect(file, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM transfers").fetchone()
        await ledger.set_identity("source", "x")
        file.rename(tmp_path / "away")
        with pytest.raises(LedgerError, match="moved away"):
            await ledger.check_writable()
        reader.execute("COMMIT")
        with pytest.raises(LedgerError, match="moved away"):
            await ledger.close()
    assert (tmp_path / "ledger.db-wal").stat().st_size == 0
    again = SqliteLedger(tmp_path / "away", "me", ManualClock())
    assert await again.get_identity("source") == "x"
    await again.close()


async def test_a_process_starts_while_another_one_closes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite deletes log and shared memory with the last connection, and the process unregisters after that."""
    first = SqliteLedger(file := tmp_path / "ledger.db", "first", ManualClock())
    look, unregister = OwnerLock.find_descriptions, first._file.presence.close
    looked, openings = threading.Event(), []

    def look_and_tell(presence: OwnerLock) -> dict[str, str]:
        found = look(presence)
        looked.set()
        return found

    def unregister_late() -> None:
        openings.append(threads.submit(SqliteLedger, file, "second", ManualClock()))
        looked.wait(PATIENCE)
        unregister()

    monkeypatch.setattr(OwnerLock, "find_descriptions", look_and_tell)
    monkeypatch.setattr(first._file.presence, "close", unregister_late)
    with ThreadPoolExecutor(1) as threads:
        await first.close()
        second = openings[0].result()
    await second.close()


async def test_a_start_on_a_full_disk_says_so(tmp_path: Path) -> None:
    """While another process has the file open, nothing of it is written before the description of the new one."""
    ledger, limit = SqliteLedger(tmp_path / "ledger.db", "me", ManualClock()), resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, limit[1]))
        with pytest.raises(LedgerError) as caught:
            SqliteLedger(tmp_path / "ledger.db", "second", ManualClock())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert "free some disk space" in caught.value.hint
    await SqliteLedger(tmp_path / "ledger.db", "second", ManualClock()).close()
    await ledger.close()


async def test_a_ledger_that_was_replaced_leaves_nothing_for_the_new_file(tmp_path: Path) -> None:
    """SQLite applies a -wal file to any database with the same name."""
    await written(file := tmp_path / "ledger.db")
    await SqliteLedgerMaintenance(file, "check", ManualClock(), 30.0).back_up(tmp_path / "backup.db")
    ledger = SqliteLedger(file, "me", ManualClock())
    await ledger.set_identity("source", "x" * 100_000)
    os.replace(tmp_path / "backup.db", file)
    with pytest.raises(LedgerError, match="another file is at its path now"):
        await ledger.close()
    assert (tmp_path / "ledger.db-wal").stat().st_size == 0
    again = SqliteLedger(file, "me", ManualClock())
    assert await again.get_identity("source") == ""
    await again.close()
    assert await SqliteLedgerMaintenance(file, "check", ManualClock(), 30.0).find_damage() == []


@pytest.mark.parametrize(("name", "part"), [("queue.db", "queue"), ("ledger.db", "ledger")])
async def test_a_service_whose_file_is_gone_is_not_ready_until_it_is_back(tmp_path: Path, name: str, part: str) -> None:
    """Idle as it is."""
    for folder in ("source", "destination"):
        (tmp_path / folder).mkdir()

    async def wait_until(ready: bool) -> list[str]:
        async with asyncio.timeout(PATIENCE):
            while (found := await service.ready()).ready is not ready:
                await asyncio.sleep(0.05)
        return [check.message for check in found.checks if check.part == part]

    async with build_service(load(None, {}, tmp_path), Fanout(())) as service:
        running = asyncio.create_task(service.run())
        await wait_until(True)
        (tmp_path / name).rename(tmp_path / "away")
        (said,) = await wait_until(False)
        assert f"{tmp_path / name}: it was moved away or deleted" in said
        (tmp_path / "away").rename(tmp_path / name)
        await wait_until(True)
        (tmp_path / "source" / "a").write_bytes(b"1")
        async with asyncio.timeout(PATIENCE):
            while not (tmp_path / "destination" / "a").exists():
                await asyncio.sleep(0.05)
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


async def test_a_run_until_idle_ends_with_the_loss_of_its_queue(tmp_path: Path) -> None:
    """It would wait for ever for acknowledgements that cannot be written."""
    (tmp_path / "source").mkdir()
    (tmp_path / "destination").mkdir()

    async def run() -> None:
        async with build_service(load(None, {}, tmp_path), Fanout(())) as service:
            os.remove(tmp_path / "queue.db")
            (tmp_path / "source" / "a").write_bytes(b"1")
            async with asyncio.timeout(PATIENCE):
                await service.run(until_idle=True)

    with pytest.raises((QueueError, ExceptionGroup)) as caught:
        await run()
    assert "moved away or deleted" in repr(caught.value)


async def test_the_loss_of_a_queue_leaves_the_ledger_closed(tmp_path: Path) -> None:
    """With its leases released, and its -wal file applied."""
    (tmp_path / "source").mkdir()
    with pytest.raises(QueueError, match="moved away or deleted"):
        async with build_service(load(None, {}, tmp_path), Fanout(())):
            os.remove(tmp_path / "queue.db")
    assert (tmp_path / "ledger.db").exists()
    assert not (tmp_path / "ledger.db-wal").exists()
