"""Notifications of a folder and all below it, without looks for changes while there are none."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import select
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from skyferry.discovery.folder import inotify
from skyferry.discovery.folder.inotify import TreeNotifications, WatchTree
from skyferry.discovery.folder.inspector import ADDED, DELETED, MODIFIED, OWN
from skyferry.discovery.folder.notify import INSTANCES, WatchEnded
from skyferry.errors import StoreUnavailable
from skyferry.sqlite.inotify import IN_MODIFY, IN_Q_OVERFLOW

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux has inotify")
PATIENCE = 30.0  # seconds


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[WatchTree]:
    (tmp_path / "in" / "a" / "b").mkdir(parents=True)
    with closing(WatchTree(str(tmp_path / "in"))) as tree:
        yield tree


@pytest.fixture
async def notifications(tmp_path: Path) -> AsyncIterator[TreeNotifications]:
    (tmp_path / "in").mkdir()
    notifications = TreeNotifications(str(tmp_path / "in"))
    await notifications.open()
    yield notifications
    notifications.close()


def read(tree: WatchTree, root: Path) -> set[tuple[int, str]]:
    return {(kind, os.path.relpath(path, root / "in")) for kind, path in tree.read()}


def test_each_kind_of_change_is_found_in_every_folder(tree: WatchTree, tmp_path: Path) -> None:
    at = tmp_path / "in" / "a" / "b" / "f"
    assert read(tree, tmp_path) == set()
    at.write_bytes(b"1")
    assert read(tree, tmp_path) == {(ADDED, "a/b/f"), (MODIFIED, "a/b/f")}
    at.chmod(0o600)
    assert read(tree, tmp_path) == {(MODIFIED, "a/b/f")}
    at.rename(tmp_path / "in" / "g")
    assert read(tree, tmp_path) == {(DELETED, "a/b/f"), (ADDED, "g")}
    (tmp_path / "in" / "g").unlink()
    assert read(tree, tmp_path) == {(DELETED, "g")}
    (tmp_path / "in" / "l").symlink_to("a")
    assert read(tree, tmp_path) == {(ADDED, "l")}


def test_new_folders_are_watched_to_their_ends(tree: WatchTree, tmp_path: Path) -> None:
    (tmp_path / "in" / "c" / "d").mkdir(parents=True)
    assert (ADDED, "c") in read(tree, tmp_path)
    (tmp_path / "in" / "c" / "d" / "f").write_bytes(b"")
    assert (ADDED, "c/d/f") in read(tree, tmp_path)


def test_a_folder_that_moves_is_known_by_its_new_path(tree: WatchTree, tmp_path: Path) -> None:
    (tmp_path / "in" / "a").rename(tmp_path / "in" / "z")
    (tmp_path / "in" / "a").mkdir()
    assert {(DELETED, "a"), (ADDED, "z"), (ADDED, "a")} <= read(tree, tmp_path)
    (tmp_path / "in" / "z" / "b" / "f").write_bytes(b"")
    (tmp_path / "in" / "a" / "f").write_bytes(b"")
    assert {path for _, path in read(tree, tmp_path)} == {"z/b/f", "a/f"}


def test_a_folder_that_moves_away_is_watched_no_more(tree: WatchTree, tmp_path: Path) -> None:
    (tmp_path / "in" / "a").rename(tmp_path / "a")
    assert read(tree, tmp_path) == {(DELETED, "a")}
    (tmp_path / "a" / "b" / "f").write_bytes(b"")
    assert read(tree, tmp_path) == set()


def test_a_deleted_folder_costs_no_look_at_all_others(
    tree: WatchTree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With them, the deletion of 7,000 folders took 2.5 s of CPU, and of ten times as many a hundred times as much."""
    looks = list[str]()
    monkeypatch.setattr(tree, "_forget", looks.append)
    (tmp_path / "in" / "a" / "b").rmdir()
    (tmp_path / "in" / "a").rmdir()
    assert read(tree, tmp_path) == {(DELETED, "a/b"), (DELETED, "a")}
    assert looks == []
    assert list(tree._paths.values()) == [str(tmp_path / "in")]
    (tmp_path / "in" / "a" / "b").mkdir(parents=True)
    assert (ADDED, "a") in read(tree, tmp_path)
    (tmp_path / "in" / "a" / "b" / "f").write_bytes(b"")
    assert (ADDED, "a/b/f") in read(tree, tmp_path)


def test_changes_that_never_end_do_not_hide_those_before(
    tree: WatchTree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (watch,) = (w for w, path in tree._paths.items() if path.endswith("b"))
    change = inotify.HEADER.pack(watch, IN_MODIFY, 0, 16) + b"f".ljust(16, b"\0")
    monkeypatch.setattr(tree._inotify, "read", lambda: change)
    assert read(tree, tmp_path) == {(MODIFIED, "a/b/f")}


def test_its_own_folder_and_links_are_not_watched(tmp_path: Path) -> None:
    root = tmp_path / "in"
    (root / OWN).mkdir(parents=True)
    (tmp_path / "away").mkdir()
    (root / "link").symlink_to(tmp_path / "away")
    with closing(WatchTree(str(root))) as tree:
        (root / OWN / "f").write_bytes(b"")
        (tmp_path / "away" / "f").write_bytes(b"")
        assert tree.read() == set()


@pytest.mark.parametrize("moved", ["in", "."])
def test_a_folder_that_is_replaced_or_whose_parent_is_ends_the_watch(tmp_path: Path, moved: str) -> None:
    """Even if the same path is there again."""
    root, away = tmp_path / "x" / "in", tmp_path / "away"
    root.mkdir(parents=True)
    with closing(WatchTree(str(root))) as tree:
        (tmp_path / "x" / moved).resolve().rename(away)
        root.mkdir(parents=True)
        with pytest.raises(WatchEnded):
            tree.read()
        with pytest.raises(WatchEnded):
            tree.check()


def test_a_folder_that_is_deleted_ends_the_watch(tree: WatchTree, tmp_path: Path) -> None:
    for path in ("in/a/b", "in/a", "in"):
        (tmp_path / path).rmdir()
    with pytest.raises(WatchEnded):
        tree.read()


def test_lost_notifications_end_the_watch(tree: WatchTree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of the folder is listed after that."""
    overflow = inotify.HEADER.pack(-1, IN_Q_OVERFLOW, 0, 0)
    monkeypatch.setattr(tree._inotify, "read", lambda: overflow)
    with pytest.raises(WatchEnded):
        tree.read()


async def test_changes_gather_and_a_burst_has_an_end(notifications: TreeNotifications, tmp_path: Path) -> None:
    (tmp_path / "in" / "f").write_bytes(b"1")
    async with asyncio.timeout(PATIENCE):
        assert {path for _, path in await notifications.next_changes()} == {str(tmp_path / "in" / "f")}
        assert await notifications.next_changes() == set()


async def test_the_thread_sleeps_while_nothing_changes(
    notifications: TreeNotifications, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It looks at its folder every five seconds, and at nothing else; the event loop is not woken."""
    looks, check = list[None](), WatchTree.check

    def count(tree: WatchTree) -> None:
        looks.append(None)
        check(tree)

    monkeypatch.setattr(WatchTree, "check", count)
    waiting = asyncio.create_task(notifications.next_changes())
    await asyncio.sleep(0.5)
    assert not waiting.done()
    assert looks == []
    (tmp_path / "in" / "f").write_bytes(b"1")
    async with asyncio.timeout(PATIENCE):
        assert await waiting
    assert len(looks) == 1


async def test_a_folder_that_is_gone_is_noticed_without_a_change(
    notifications: TreeNotifications, tmp_path: Path
) -> None:
    (tmp_path / "in").rename(tmp_path / "away")
    async with asyncio.timeout(PATIENCE):
        with pytest.raises(WatchEnded):
            await notifications.next_changes()


async def test_a_disk_that_is_mounted_over_the_folder_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system notifies nothing of it."""
    monkeypatch.setattr(inotify, "CHECK", 0.01)
    notifications = TreeNotifications(str(tmp_path))
    await notifications.open()
    monkeypatch.setattr(notifications._tree, "_identity", (0, 0))
    async with asyncio.timeout(PATIENCE):
        with pytest.raises(WatchEnded):
            await notifications.next_changes()
    notifications.close()


@pytest.mark.parametrize("opened", [True, False])
async def test_nothing_is_left_open(tmp_path: Path, *, opened: bool) -> None:
    async with asyncio.timeout(PATIENCE):
        while any(thread.name == "watch" for thread in threading.enumerate()):  # of other tests
            await asyncio.sleep(0.01)
    before = len(os.listdir("/dev/fd"))
    notifications = TreeNotifications(str(tmp_path if opened else tmp_path / "missing"))
    if opened:
        await notifications.open()
    else:
        with pytest.raises(WatchEnded):
            await notifications.open()
    notifications.close()
    async with asyncio.timeout(PATIENCE):
        while len(os.listdir("/dev/fd")) != before:
            await asyncio.sleep(0.01)


async def test_a_watch_that_cannot_be_stopped_is_not_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: int) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(os, "eventfd", refuse)
    notifications = TreeNotifications(str(tmp_path))
    with pytest.raises(StoreUnavailable, match="Too many"):
        await notifications.open()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(notifications._tree.descriptor)


async def test_any_failure_of_the_thread_is_raised(
    notifications: TreeNotifications, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise MemoryError

    monkeypatch.setattr(notifications._tree, "read", fail)
    (tmp_path / "in" / "f").write_bytes(b"")
    async with asyncio.timeout(PATIENCE):
        with pytest.raises(MemoryError):
            await notifications.next_changes()


async def test_a_limit_of_the_system_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(tree: WatchTree, path: str, mask: int) -> int:
        raise OSError(errno.ENOSPC, "No space left on device", path)

    monkeypatch.setattr(WatchTree, "_add", refuse)
    with pytest.raises(StoreUnavailable) as caught:
        await TreeNotifications(str(tmp_path)).open()
    assert "max_user_watches" in caught.value.hint


@pytest.mark.parametrize("call", ["skyferry.sqlite.inotify.Inotify._check", "os.eventfd"])
async def test_a_limit_of_open_files_or_of_instances_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """The system has one error for both limits, of which the first has nothing to do with notifications."""

    def refuse(*_: object) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(call, refuse)
    with pytest.raises(StoreUnavailable, match="Too many open files") as caught:
        await TreeNotifications(str(tmp_path)).open()
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert f"two of the {files} files" in caught.value.hint
    assert f"one of the {INSTANCES.read_text().strip()} inotify instances" in caught.value.hint


async def test_a_limit_that_a_new_folder_reaches_says_what_to_do(
    notifications: TreeNotifications, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system calls it "No space left on device"."""

    def refuse(path: str, mask: int) -> int:
        raise OSError(errno.ENOSPC, "No space left on device", path)

    monkeypatch.setattr(notifications._tree, "_add", refuse)
    (tmp_path / "in" / "new").mkdir()
    async with asyncio.timeout(PATIENCE):
        with pytest.raises(StoreUnavailable) as caught:
            await notifications.next_changes()
    assert "max_user_watches" in caught.value.hint


def test_changes_show_at_the_descriptor(tree: WatchTree, tmp_path: Path) -> None:
    """The thread waits for it, however deep the change is."""
    assert select.select([tree.descriptor], [], [], 0)[0] == []
    (tmp_path / "in" / "a" / "b" / "f").write_bytes(b"")
    assert select.select([tree.descriptor], [], [], PATIENCE)[0] == [tree.descriptor]
