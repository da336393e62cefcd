"""A watcher on a real folder."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from skyferry.clock import SystemClock
from skyferry.discovery.folder import notify
from skyferry.discovery.folder import watcher as watch_folder
from skyferry.discovery.folder.inotify import WatchTree
from skyferry.discovery.folder.inspector import WatchedFolder
from skyferry.discovery.folder.watcher import SHARE, FolderWatcher
from skyferry.errors import LedgerError, QueueError, StoreUnavailable
from skyferry.model import Change
from skyferry.ports import Clock
from skyferry.sqlite.inotify import has_inotify

if TYPE_CHECKING:
    from tests.discovery.conftest import Heard

PATIENCE = 20.0  # seconds


async def test_a_file_is_noticed_when_it_is_written_overwritten_and_deleted(
    watcher: FolderWatcher, heard: Heard, folder: Path
) -> None:
    (folder / "f").write_bytes(b"one")
    one = await heard.created("f", 3)
    (folder / "f").write_bytes(b"other")
    two = await heard.created("f", 5)
    assert one.event_id != two.event_id
    (folder / "f").unlink()
    await heard.deleted("f")
    assert {(r.event, r.store, r.key, r.operation) for r in heard.records} == {
        ("watch.noticed", "in", "f", "created"),
        ("watch.noticed", "in", "f", "deleted"),
    }


async def test_a_file_is_noticed_when_it_is_moved_in_renamed_and_moved_out(
    watcher: FolderWatcher, heard: Heard, folder: Path
) -> None:
    (folder.parent / "x").write_bytes(b"data")
    os.rename(folder.parent / "x", folder / "a")
    await heard.created("a", 4)
    os.rename(folder / "a", folder / "b")
    await heard.deleted("a")
    await heard.created("b", 4)
    os.rename(folder / "b", folder.parent / "x")
    await heard.deleted("b")


async def test_a_file_being_written_is_reported_once_it_is_whole(
    watcher: FolderWatcher, heard: Heard, folder: Path
) -> None:
    with open(folder / "big", "wb") as file:
        file.write(b"half")
        file.flush()
        (folder / "marker").write_bytes(b"")
        await heard.created("marker")
        file.write(b"whole")
        file.flush()
        (folder / "marker2").write_bytes(b"")
        await heard.created("marker2")
        assert heard.of("big") == []
    await heard.created("big")
    assert [e.size for e in heard.of("big")] == [9]


async def test_a_file_that_vanishes_while_it_is_being_written_is_deleted(
    watcher: FolderWatcher, heard: Heard, folder: Path
) -> None:
    with open(folder / "f", "wb"):
        (folder / "marker").write_bytes(b"")
        await heard.created("marker")
        (folder / "f").unlink()
        await heard.deleted("f")
    assert [e.change for e in heard.of("f")] == [Change.DELETED]


async def test_a_folder_tree_is_noticed_when_it_is_made_and_when_it_is_moved_in(
    watcher: FolderWatcher, heard: Heard, folder: Path
) -> None:
    (folder / "a/b/c").mkdir(parents=True)
    (folder / "a/b/c/f").write_bytes(b"1")
    await heard.created("a/b/c/f")
    (folder.parent / "tree/d").mkdir(parents=True)
    (folder.parent / "tree/d/g").write_bytes(b"2")
    os.rename(folder.parent / "tree", folder / "tree")
    await heard.created("tree/d/g")
    (folder / "tree/d/h").write_bytes(b"3")
    await heard.created("tree/d/h")


async def test_what_was_in_a_folder_that_moved_out_is_said_to_be_missed(
    watcher: FolderWatcher, heard: Heard, folder: Path
) -> None:
    (folder / "tree/d").mkdir(parents=True)
    (folder / "tree/d/g").write_bytes(b"2")
    await heard.created("tree/d/g")
    os.rename(folder / "tree", folder.parent / "tree")
    await heard.until(lambda: "tree/" in heard.missed)


async def test_a_folder_that_becomes_readable_is_watched_and_said_to_be_missed(
    watcher: FolderWatcher, heard: Heard, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever runs as root may read everything, so that a refusal is played."""
    scan, closed = os.scandir, True

    def refuse(path: str) -> object:
        if closed and os.path.basename(path) == "d":
            raise PermissionError(13, "Permission denied", path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    (folder / "d" / "e").mkdir(parents=True)
    (folder / "d").chmod(0o700)
    (folder / "x").write_bytes(b"x")
    await heard.created("x")
    assert heard.missed == []
    closed = False
    (folder / "d").chmod(0o755)
    await heard.until(lambda: heard.missed == [""])
    (folder / "d" / "e" / "f").write_bytes(b"f")
    await heard.created("d/e/f")


async def test_a_queue_and_a_ledger_that_fail_are_asked_again(
    watcher: FolderWatcher, heard: Heard, folder: Path
) -> None:
    heard.errors = [QueueError(), QueueError()]
    (folder / "d").mkdir()
    (folder / "d/f").write_bytes(b"1")
    await heard.created("d/f")
    heard.errors = [LedgerError("malformed")]
    os.rename(folder / "d", folder.parent / "d")
    await heard.until(lambda: "d/" in heard.missed)
    failed = [(r.store, r.error, r.message) for r in heard.records if r.event == "watch.failed"]
    assert failed == [("in", "queue_error", str(QueueError()))] * 2 + [("in", "ledger_error", "malformed")]


async def write_until_noticed(folder: Path, key: str, heard: Heard) -> None:
    """Until the folder is watched again."""
    async with asyncio.timeout(PATIENCE):
        while not heard.of(key):
            (folder / key).write_bytes(b"3")
            await asyncio.sleep(0.1)


async def test_a_folder_that_cannot_be_looked_through_for_want_of_descriptors_is_looked_through_later(
    watcher: FolderWatcher, heard: Heard, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its files are neither passed over, nor called unreadable, nor does the watcher end."""
    scan, left = os.scandir, 2

    def none_left(path: str) -> object:
        nonlocal left
        if left:
            left -= 1
            raise OSError(errno.EMFILE, "Too many open files", path)
        return scan(path)

    (folder.parent / "tree/d").mkdir(parents=True)
    (folder.parent / "tree/d/g").write_bytes(b"2")
    monkeypatch.setattr(os, "scandir", none_left)
    os.rename(folder.parent / "tree", folder / "tree")
    await heard.until(lambda: "" in heard.missed)
    await write_until_noticed(folder, "tree/d/h", heard)
    assert {r.event for r in heard.records} == {"watch.failed", "watch.noticed"}


async def test_a_bucket_that_was_replaced_is_watched_again_and_all_of_it_said_to_be_missed(
    watcher: FolderWatcher, heard: Heard, folder: Path
) -> None:
    shutil.rmtree(folder)
    folder.mkdir()
    await heard.until(lambda: "" in heard.missed)
    (folder / "f").write_bytes(b"1")
    await heard.created("f")


async def test_a_bucket_whose_parent_is_no_folder_any_more_may_come_back(tmp_path: Path) -> None:
    """It is gone as any other; the service does not end for it."""
    (tmp_path / "mount" / "in").mkdir(parents=True)
    notifications = notify.Notifications(str(tmp_path / "mount" / "in"))
    await notifications.open()
    (tmp_path / "mount").rename(tmp_path / "away")
    (tmp_path / "mount").write_text("")
    with pytest.raises(notify.WatchEnded):
        await notifications.next_changes()
    notifications.close()


async def test_the_thread_wakes_up_less_often_while_nothing_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And as often as before once something has."""
    monkeypatch.setattr(notify, "CALM", 2)
    monkeypatch.setattr(notify, "TIMEOUT", 10)
    notifications, steps = notify.Notifications(str(tmp_path)), list[int]()
    await notifications.open()
    system = notifications._notify

    class Watched:
        def watch(self, debounce: int, step: int, *rest: Any) -> Any:
            steps.append(step)
            return system.watch(debounce, step, *rest)

    monkeypatch.setattr(notifications, "_notify", Watched())
    for _ in range(3):
        assert await notifications.next_changes() == set()
    (tmp_path / "f").write_bytes(b"1")
    while not await notifications.next_changes():
        pass
    before = len(steps)
    await notifications.next_changes()
    notifications.close()
    assert steps[:3] == [notify.STEP, notify.STEP, notify.CALM_STEP]
    assert steps[before] == notify.STEP


async def test_after_a_flood_the_whole_bucket_is_said_to_be_missed(
    watcher: FolderWatcher, heard: Heard, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system may have dropped some of it and does not say so."""
    monkeypatch.setattr(watch_folder, "MANY", 50)
    for number in range(200):
        (folder / str(number)).write_bytes(b"")
    await heard.until(lambda: "" in heard.missed)
    assert {e.source.key for e in heard.events} == {str(n) for n in range(200)}


async def test_no_more_unfinished_files_are_watched_than_there_is_room_for(
    watcher: FolderWatcher, heard: Heard, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch_folder, "UNFINISHED", 1)
    with open(folder / "a", "wb"), open(folder / "b", "wb"):
        await heard.until(lambda: "" in heard.missed)
    await heard.until(lambda: len(heard.of("a") + heard.of("b")) >= 1)


async def test_a_folder_that_replaces_a_new_empty_one_is_found_whole(
    watcher: FolderWatcher, heard: Heard, folder: Path
) -> None:
    """The system says of it that it was moved there, not that the other is gone."""
    (folder.parent / "x").mkdir()
    (folder.parent / "x" / "f").write_bytes(b"1")
    await asyncio.sleep(0.1)  # longer than the time of a file may be behind the clock
    (folder / "d").mkdir()
    (folder / "marker").write_bytes(b"")
    await heard.created("marker")
    os.rename(folder.parent / "x", folder / "d")
    await heard.created("d/f", 1)


async def test_a_file_without_room_is_missed_even_if_nothing_changes_any_more(
    watcher: FolderWatcher, heard: Heard, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "f").write_bytes(b"1")
    event = await heard.created("f")
    await asyncio.sleep(1.5)  # the burst has ended
    monkeypatch.setattr(watch_folder, "UNFINISHED", 0)
    heard.missed.clear()
    with open(folder / "f", "ab"):
        await watcher.send_whole([event])
        await heard.until(lambda: "" in heard.missed)


async def test_a_listing_is_let_in_once_its_files_are_whole(watcher: FolderWatcher, heard: Heard, folder: Path) -> None:
    (folder / "f").write_bytes(b"1")
    event = await heard.created("f")
    heard.events.clear()
    with open(folder / "f", "ab") as file:
        await watcher.send_whole([event])
        assert heard.of("f") == []
        file.write(b"2")
    assert (await heard.created("f")).size == 2


async def test_a_name_that_cannot_be_a_key_is_reported(watcher: FolderWatcher, heard: Heard, folder: Path) -> None:
    long = folder / "/".join(["x" * 250] * 5)
    long.parent.mkdir(parents=True)
    long.write_bytes(b"")
    (folder / "y").write_bytes(b"")
    await heard.created("y")
    assert {(r.event, r.key) for r in heard.records} == {("watch.unreadable", str(long)), ("watch.noticed", "y")}


async def test_a_system_that_cannot_watch_says_what_to_do(
    watched: WatchedFolder, heard: Heard, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError("OS file watch limit reached")

    monkeypatch.setattr(watch_folder, "has_inotify", lambda: False)
    monkeypatch.setattr("watchfiles._rust_notify.RustNotify", full)
    with pytest.raises(StoreUnavailable, match="limit reached") as caught:
        await FolderWatcher(watched, heard.send, heard.miss, clock, heard).run()
    assert "max_user_watches" in caught.value.hint


async def test_it_is_idle_when_everything_was_sent_and_nothing_is_being_written(
    watcher: FolderWatcher, heard: Heard, folder: Path
) -> None:
    before = watcher.idle
    with open(folder / "f", "wb"):
        (folder / "marker").write_bytes(b"")
        await heard.created("marker")
        during = watcher.idle
    await heard.created("f")
    assert (before, during) == (True, False)


def test_it_is_not_idle_before_it_has_looked(watched: WatchedFolder, heard: Heard, clock: Clock) -> None:
    assert not FolderWatcher(watched, heard.send, heard.miss, clock, heard).idle


class Slept(SystemClock):
    """Remembers its sleeps, and shortens them."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await super().sleep(min(seconds, 0.05))


@pytest.mark.skipif(not has_inotify(), reason="needs inotify, which is in Linux")
async def test_a_folder_that_cannot_be_watched_any_more_is_listed(
    watched: WatchedFolder, heard: Heard, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With pauses in proportion to the listing. It is logged once, and watched again once that is possible."""
    clock, seconds, full, add = Slept(), 0.2, False, WatchTree._add

    async def list_slowly(prefixes: Sequence[str]) -> None:
        await asyncio.sleep(seconds)
        await heard.miss(prefixes)

    def add_until_full(tree: WatchTree, path: str, mask: int) -> int:
        if full:
            raise OSError(errno.ENOSPC, "No space left on device", path)
        return add(tree, path, mask)

    monkeypatch.setattr(WatchTree, "_add", add_until_full)
    task = asyncio.create_task(FolderWatcher(watched, heard.send, list_slowly, clock, heard).run())
    try:
        await heard.until(lambda: heard.missed == [""])
        full = True
        (folder / "one too many").mkdir()
        await heard.until(lambda: len(heard.missed) >= 4)
        pauses = [pause for pause in clock.slept if pause >= SHARE * seconds]
        assert len(pauses) >= 2
        (failed,) = [record for record in heard.records if record.event == "watch.failed"]
        assert "until then it is listed" in failed.message
        assert "max_user_watches" in failed.message
        assert failed.delay is not None
        assert failed.delay >= SHARE * seconds
        full = False
        await write_until_noticed(folder, "one too many/f", heard)
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
