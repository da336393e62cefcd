"""A file with a second name has a log and locks for each name, which damages it. A symbolic link is not a second name."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.sqlite.test_log import WRITER, maintain, read, start_writer, write

from skyferry.errors import LedgerError, QueueError
from skyferry.ledgers.sqlite.ledger import SqliteLedger
from skyferry.queues.sqlite.queue import SqliteQueue
from skyferry.testing.clock import ManualClock

Open = Callable[[Path], SqliteLedger | SqliteQueue]


def open_ledger(file: Path) -> SqliteLedger:
    return SqliteLedger(file, "me", ManualClock())


def open_queue(file: Path) -> SqliteQueue:
    return SqliteQueue(file, "q", "me", ManualClock())


async def test_two_names_of_a_file_are_found(tmp_path: Path) -> None:
    """Each has its own log and its own locks."""
    await write(file := tmp_path / "ledger.db", "first")
    assert (await maintain(file).inspect()).wrong == ()
    os.link(file, tmp_path / "second.db")
    (wrong,) = (await maintain(file).inspect()).wrong
    assert "has 2 names (hard links)" in wrong.what
    assert wrong.loses


@pytest.mark.parametrize("open_file", [open_ledger, open_queue])
async def test_a_file_with_two_names_is_not_opened(tmp_path: Path, open_file: Open) -> None:
    """Two processes that wrote by two names damaged it, without an error of either."""
    file, second = tmp_path / "first.db", tmp_path / "second.db"
    await open_file(file).close()
    os.link(file, second)
    for each in (file, second):
        with pytest.raises((LedgerError, QueueError), match=r"2 names \(hard links\)") as refused:
            open_file(each)
        assert "Remove its other names" in refused.value.hint
    second.unlink()
    await open_file(file).close()


async def test_a_ledger_with_two_names_is_not_migrated(tmp_path: Path) -> None:
    await write(file := tmp_path / "ledger.db", "first")
    os.link(file, second := tmp_path / "second.db")
    with pytest.raises(LedgerError, match="2 names"):
        assert [step async for step in maintain(second).migrate()] == []


async def test_a_file_that_is_mounted_without_its_folder_is_not_opened(tmp_path: Path) -> None:
    """Its log would be in the folder below, that of a container for example, and end with it."""
    await write(file := tmp_path / "ledger.db", "first")
    (inside := tmp_path / "inside").mkdir()
    (inside / file.name).touch()
    mount = f'mount --bind "$1" "$2/{file.name}" && exec "$0" "{WRITER}" "$2/{file.name}" second'
    command = ["unshare", "-m", "sh", "-c", mount, sys.executable, str(file), str(inside)]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    except FileNotFoundError:
        pytest.skip("unshare is missing: install util-linux")
    if "unshare:" in done.stderr or "mount:" in done.stderr:
        pytest.skip("this user may not mount: run as root")
    assert "it is mounted without its folder" in done.stdout
    assert not Path(f"{inside / file.name}-wal").exists()


async def test_processes_that_follow_a_link_meet_the_others(tmp_path: Path) -> None:
    """They know each other by their names, free the leases of the dead, and are seen by a rebuild."""
    (tmp_path / "disk").mkdir()
    (link := tmp_path / "ledger.db").symlink_to(file := tmp_path / "disk" / "ledger.db")
    with start_writer(file, "one"):
        with start_writer(link, "one") as second:
            assert "a process named one has it open" in second.said
        with pytest.raises(LedgerError, match="one has it open"):
            async with maintain(link).rebuild():
                pass


async def test_a_rebuild_leaves_a_link_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (link := tmp_path / "ledger.db").symlink_to(file := tmp_path / "disk" / "ledger.db")
    await write(file, "first")
    file.write_bytes(b"damaged" * 1000)
    async with maintain(link).rebuild() as ledger:
        await ledger.set_identity("rebuilt", "x")
    assert link.is_symlink()
    assert await read(file, "rebuilt") == [True]
    assert [*(tmp_path / "disk").glob("ledger.db.damaged-*")]
