"""Flushes in groups: one call of syncfs serves many files where it is as good as fsync, and nowhere else."""

from __future__ import annotations

import asyncio
import errno
import os
import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from stat import S_ISDIR

import pytest
from tests.stores.local.on_disk import put

from skyferry.stores.local import flushing
from skyferry.stores.local.flushing import EXT4, MANY, Flushes
from skyferry.stores.local.store import LocalStore

XFS = 0x58465342


class Disk:
    """Counts the flushes; a test decides what they return."""

    def __init__(self) -> None:
        self.separate: list[int] = []  # inodes
        self.together = 0
        self.failed = 0  # what syncfs returns
        self.type = EXT4
        self.broken = set[int]()  # inodes whose flush fails
        self.gate = threading.Event()  # flushes wait for it
        self.gate.set()
        self.on_flush: Callable[[], None] = lambda: None

    def fsync(self, file: int) -> None:
        """Flush one file."""
        found = os.fstat(file)
        if S_ISDIR(found.st_mode):
            self.on_flush()
        assert self.gate.wait(30)
        self.separate.append(found.st_ino)
        if found.st_ino in self.broken:
            raise OSError(errno.EIO, "the journal was aborted")

    def call_libc(self, name: str, *args: object) -> int:
        """Flush all."""
        if name == "fstatfs":
            args[1].value = self.type.to_bytes(8, "little")  # type: ignore[attr-defined]
            return 0
        assert name == "syncfs"
        self.on_flush()
        self.together += 1
        return self.failed


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    made = Disk()
    monkeypatch.setattr(os, "fsync", made.fsync)
    monkeypatch.setattr(flushing, "call_libc", made.call_libc)
    monkeypatch.setattr(flushing, "can_report_errors", lambda: True)
    return made


class Place:
    """Open files, and flushes of them."""

    def __init__(self, folder: Path, stack: ExitStack, disk: Disk) -> None:
        self.disk, self.files = disk, []
        for n in range(MANY + 1):
            self.files.append(os.open(folder / str(n), os.O_RDWR | os.O_CREAT, 0o600))
            stack.callback(os.close, self.files[-1])
        self.calls = 0  # of `resume`
        self.resumed: queue.SimpleQueue[tuple[int, OSError | None]] = queue.SimpleQueue()
        self.flushes = Flushes[int]("test", self.resume, self.anchor)

    def resume(self, flushed: list[tuple[int, OSError | None]]) -> None:
        """Count the calls, and note the files."""
        self.calls += 1
        for each in flushed:
            self.resumed.put(each)

    def anchor(self) -> int:
        """Return a file that was opened first."""
        return self.files[0]

    def flush(self, count: int) -> set[int]:
        """Flush one file, and meanwhile request the flush of others in one group. Return those that were resumed."""
        self.disk.gate.clear()
        for file in self.files[: count + 1]:
            self.flushes.request(file, file)
            self.flushes.begin()
        self.disk.gate.set()
        done = dict(self.resumed.get(timeout=30) for _ in range(count + 1))
        assert set(done.values()) == {None}
        return set(done)

    def inodes(self, count: int) -> list[int]:
        """Return the inodes of the first files."""
        return sorted(os.fstat(file).st_ino for file in self.files[: count + 1])


@pytest.fixture
def place(tmp_path: Path, disk: Disk) -> Iterator[Place]:
    with ExitStack() as stack:
        made = Place(tmp_path, stack, disk)
        yield made
        for thread in made.flushes.stop():
            thread.join()


def test_many_files_are_flushed_by_one_call(place: Place, disk: Disk) -> None:
    """All are resumed. The first, which was alone, has a call of its own, and so has the last, which asks for the journal."""
    assert place.flush(MANY) == set(place.files)
    assert disk.together == 1
    assert disk.separate == [os.fstat(file).st_ino for file in (place.files[0], place.files[-1])]


def test_after_the_journal_was_aborted_no_file_counts_as_flushed(place: Place, disk: Disk) -> None:
    """Then syncfs succeeds, but fsync fails."""
    inodes = place.inodes(MANY)
    disk.broken = set(inodes)
    disk.gate.clear()
    for file in place.files:
        place.flushes.request(file, file)
        place.flushes.begin()
    disk.gate.set()
    done = dict(place.resumed.get(timeout=30) for _ in place.files)
    assert disk.together == 1
    assert all(isinstance(failed, OSError) for failed in done.values())
    assert sorted(set(disk.separate)) == inodes


def test_few_files_are_flushed_one_by_one(place: Place, disk: Disk) -> None:
    assert place.flush(MANY - 1) == set(place.files[:MANY])
    assert (disk.together, sorted(disk.separate)) == (0, place.inodes(MANY - 1))


def test_files_that_are_flushed_one_by_one_are_resumed_together(place: Place) -> None:
    """Each call wakes the event loop. The first file is alone; each thread has a share of the others."""
    place.flush(MANY - 1)
    assert place.calls == 1 + 3, "for 1, and for 2 + 2 + 1"


def test_after_bytes_that_could_not_be_written_each_file_is_asked_for_ever(place: Place, disk: Disk) -> None:
    """The system reports an error of syncfs once, perhaps to the group before the one that it concerns."""
    disk.failed = -1
    place.flush(MANY)
    assert (disk.together, sorted(disk.separate)) == (1, place.inodes(MANY))
    disk.failed = 0
    place.flush(MANY)
    assert (disk.together, len(disk.separate)) == (1, 2 * (MANY + 1))


def test_after_a_slow_call_each_file_is_flushed_for_a_while(
    place: Place, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another program writes much: its bytes are not waited for again and again."""
    monkeypatch.setattr(flushing, "SLOW", -1.0)
    place.flush(MANY)
    place.flush(MANY)
    assert (disk.together, len(disk.separate)) == (1, MANY + 3)


@pytest.mark.parametrize("reason", ["another type", "an old system", "another device", "no anchor"])
def test_where_one_call_is_not_as_good_each_file_is_flushed(
    place: Place, disk: Disk, monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    """Over FUSE it does not reach the server; before Linux 5.8 it hides errors; it flushes one filesystem only."""
    if reason == "another type":
        disk.type = XFS
    elif reason == "an old system":
        monkeypatch.setattr(flushing, "can_report_errors", lambda: False)
    elif reason == "another device":
        elsewhere = os.open("/proc", os.O_RDONLY)
        place.flushes._anchor = lambda: elsewhere
    else:
        place.flushes._anchor = lambda: -1
    place.flush(MANY)
    assert (disk.together, sorted(disk.separate)) == (0, place.inodes(MANY))


@pytest.mark.parametrize(
    ("platform", "release", "expected"),
    [("linux", "5.8.0-1", True), ("linux", "6.18.4", True), ("linux", "5.4.0", False), ("darwin", "23.1.0", False)],
)
def test_versions_of_the_system(monkeypatch: pytest.MonkeyPatch, platform: str, release: str, expected: bool) -> None:
    monkeypatch.setattr("sys.platform", platform)
    monkeypatch.setattr("platform.release", lambda: release)
    assert flushing.can_report_errors() is expected


async def test_a_write_counts_only_after_a_flush_that_began_when_it_had_its_name(tmp_path: Path, disk: Disk) -> None:
    """One flush serves the names of many objects, but none that was given while it was in progress."""
    store, written = LocalStore("s", tmp_path), set[str]()
    covered: set[str] = set()  # keys that had their name when the last flush began
    flushes: list[int] = []

    def look() -> None:
        covered.update(os.listdir(tmp_path))
        flushes.append(1)

    disk.on_flush = look

    async def write(key: str) -> None:
        await put(store, key)
        assert key in covered
        written.add(key)

    await asyncio.gather(*(write(f"k{n}") for n in range(300)))
    await store.close()
    assert len(written) == 300
    assert disk.together > 0
    assert len(flushes) < 300


@pytest.mark.skipif(not flushing.can_report_errors(), reason="the system's syncfs reports no errors")
def test_the_calls_of_the_c_library_work(tmp_path: Path) -> None:
    """They return an error for a file that is not open."""
    file = os.open(tmp_path, os.O_RDONLY)
    try:
        assert flushing.read_type(file) > 0
        assert flushing.call_libc("syncfs", file) == 0
    finally:
        os.close(file)
    assert flushing.call_libc("syncfs", -1) == -1
    assert flushing.read_type(-1) == 0
