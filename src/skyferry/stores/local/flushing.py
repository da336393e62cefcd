"""Flushes in groups, as databases commit: all that are requested while one group is in progress are the next group.

A group of many files of one ext4 filesystem is flushed by one call of syncfs(2), which does for all files of a filesystem what
fsync(2) does for one: their bytes, metadata and names are on the disk when it returns. That costs a third of the CPU of separate
calls, and wakes one thread. It also writes what other programs have left unwritten. Therefore a slow call is followed by separate
calls for a while.
"""

from __future__ import annotations

import ctypes
import os
import platform
import queue
import re
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, TypeVar

from skyferry.errors import OutOfResources
from skyferry.tasks.threads import start_thread

T = TypeVar("T")
FLUSHERS = 4
SHARE = 8  # files that a thread flushes by separate calls before it resumes what waits: each time wakes the event loop
MANY = 6  # files of a group from which on one call for all is cheaper
SLOW = 0.2  # seconds that one call for all may take; after a slower one,
PAUSE = 10.0  # seconds of separate calls
EXT4 = 0xEF53  # the type in statfs(2), also of ext2 and ext3
REPORTS_ERRORS = (5, 8)  # the version of Linux from which on syncfs reports bytes that could not be written
_Inode = tuple[int, int]  # device and number
_Share = tuple[list[tuple[int, list[T]]], bool]  # files, and True if one call is to flush them all


class Flushes(Generic[T]):
    """Flushes files and resumes what waits for them, in threads that start with the first file."""

    def __init__(
        self, name: str, resume: Callable[[list[tuple[T, OSError | None]]], None], anchor: Callable[[], int]
    ) -> None:
        """Call `resume` in a thread after some flushes, with the error of each.

        `anchor` returns a file descriptor that was opened before all the files were written and stays open. By it, syncfs reports
        every byte that could not be written since. It MAY raise OSError.
        """
        self._name, self._resume, self._anchor = name, resume, anchor
        self._begun: queue.SimpleQueue[_Share[T] | None] = queue.SimpleQueue()
        self._requested: dict[_Inode, tuple[int, list[T]]] = {}  # the next group
        self._in_progress = 0  # items of the current group in the queue
        self._lock = threading.Lock()  # for the last two
        self._filesystem: Filesystem | None = None
        self._threads: list[threading.Thread] = []

    def stop(self) -> list[threading.Thread]:
        """Tell the threads to end, and return them. No flush may be in progress."""
        for _ in self._threads:
            self._begun.put(None)
        return self._threads

    def request(self, file: int, waiting: T) -> None:
        """Add the file to the next group. `begin` MUST follow. `waiting` is resumed after the flush.

        One flush of a folder serves all that have changed it before the flush begins.
        Its descriptor is that of the first, which keeps it open until it is resumed.
        """
        try:
            stat = os.fstat(file)
            inode = stat.st_dev, stat.st_ino
        except OSError:  # the flush will fail too, and report it
            inode = -1, file
        with self._lock:
            self._requested.setdefault(inode, (file, []))[1].append(waiting)

    def begin(self) -> None:
        """Begin the next group, now or when the current one is flushed."""
        if self._requested:
            with self._lock:
                if self._requested and not self._in_progress:
                    self._begin()

    def _begin(self) -> None:
        """Begin the next group; files that are changed later need another flush. The lock MUST be held."""
        self._start_threads()
        group, self._requested = self._requested, {}
        files, together = list(group.values()), self._serves(group)
        share = len(files) if together else min(SHARE, -(-len(files) // FLUSHERS))
        shares = [files[start : start + share] for start in range(0, len(files), share)]
        if not self._threads:
            for each in shares:
                self._resume(self._flush_share(each, together))
            return
        self._in_progress = len(shares)
        for each in shares:
            self._begun.put((each, together))

    def _start_threads(self) -> None:
        """Start the threads, or as many as the system allows. Without any, whichever thread begins a group flushes it."""
        with suppress(OutOfResources):
            while len(self._threads) < FLUSHERS:
                self._threads.append(start_thread(f"{self._name}-flush-{len(self._threads)}", self._work))

    def _serves(self, group: dict[_Inode, tuple[int, list[T]]]) -> bool:
        """Return True if one call flushes the group, because all its files are on the filesystem of the anchor."""
        if self._filesystem is None:
            self._filesystem = Filesystem.of(self._anchor)
        usable = len(group) >= MANY and self._filesystem.is_usable()
        return usable and all(device == self._filesystem.device for device, _ in group)

    def _work(self) -> None:
        while (taken := self._begun.get()) is not None:
            self._resume(self._flush_share(*taken))
            with self._lock:
                self._in_progress -= 1
                if not self._in_progress and self._requested:
                    self._begin()

    def _flush_share(self, files: list[tuple[int, list[T]]], together: bool) -> list[tuple[T, OSError | None]]:
        """Flush files, and return what waits for each, with its error."""
        served, flushed = together and self._flush_together(files[-1][0]), list[tuple[T, OSError | None]]()
        for file, waiting in files:
            failed = None if served else flush(file)
            flushed += [(each, failed) for each in waiting]
        return flushed

    def _flush_together(self, last: int) -> bool:
        """Flush the filesystem. The `fsync` of one file after that reports a journal that was aborted, as syncfs does not."""
        return self._filesystem is not None and self._filesystem.flush() and flush(last) is None


class Filesystem:
    """A filesystem that syncfs may flush."""

    def __init__(self, anchor: int, device: int) -> None:
        self._anchor, self.device = anchor, device
        self._paused = 0.0  # until this time; infinite if the filesystem or the system is another one

    @classmethod
    def of(cls, anchor: Callable[[], int]) -> Filesystem:
        """Return the filesystem of an open file, unusable if it is not ext4 under a recent Linux."""
        with suppress(OSError):
            file = anchor()
            found = cls(file, os.fstat(file).st_dev)
            if not can_report_errors() or read_type(file) != EXT4:
                found._paused = float("inf")
            return found
        unusable = cls(-1, -1)
        unusable._paused = float("inf")
        return unusable

    def is_usable(self) -> bool:
        """Return False if separate flushes are to be used."""
        return time.monotonic() >= self._paused

    def flush(self) -> bool:
        """Flush everything. Return False if some bytes could not be written: fsync then tells of which file.

        The system reports an error once, and it may concern a file of a later group. So this is not called again.
        """
        before = time.monotonic()
        if call_libc("syncfs", self._anchor):
            self._paused = float("inf")
            return False
        now = time.monotonic()
        if now - before > SLOW:
            self._paused = max(self._paused, now + PAUSE)
        return True


def flush(file: int) -> OSError | None:
    """Flush a file, and return the error."""
    try:
        os.fsync(file)
    except OSError as error:
        return error
    return None


def can_report_errors() -> bool:
    """Return True for a Linux whose syncfs reports failed writes."""
    found = re.match(r"(\d+)\.(\d+)", platform.release())
    return sys.platform == "linux" and found is not None and (int(found[1]), int(found[2])) >= REPORTS_ERRORS


def read_type(file: int) -> int:
    """Return the type of a file's filesystem, by statfs(2), whose record it begins. Zero if it is not known."""
    record = ctypes.create_string_buffer(512)
    if call_libc("fstatfs", file, record):
        return 0
    return ctypes.c_long.from_buffer(record).value


def call_libc(name: str, *args: object) -> int:
    """Call a function of the C library, and return what it does: zero for success."""
    result: int = getattr(ctypes.CDLL(None), name)(*args)
    return result
