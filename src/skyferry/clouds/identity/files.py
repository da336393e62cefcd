"""Secrets in files, reloaded when the files change: rotated in place, or swapped as in Kubernetes."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

T = TypeVar("T")
PAUSE = 1.0  # seconds between checks of the files
YOUNG = 2.0  # seconds after a change in which another may have the same time
Stamp = tuple[tuple[int, ...], ...]


class FileWatch:
    """Detects changes of files. It costs a reading of the clock, and a `stat` of each file once a second."""

    def __init__(self, paths: Sequence[Path], clock: Callable[[], float] = time.monotonic) -> None:
        self._paths, self._clock = tuple(paths), clock
        self._read: Stamp | None = None  # of the last read
        self._outdated = False
        self._next = 0.0  # time of the next check

    def stamp(self) -> Stamp:
        """Return the state of the files. Call it before reading them. Blocks."""
        return tuple(_stamp(path) for path in self._paths)

    def read(self, stamp: Stamp) -> None:
        """Record that the files were read in the state `stamp`."""
        self._read, self._outdated = stamp, False

    async def outdated(self) -> bool:
        """Return whether they have changed since they were read, by a check at most a second old."""
        now = self._clock()
        if self._paths and now >= self._next:
            self._next = now + PAUSE
            self._outdated = await asyncio.to_thread(self.stamp) != self._read
        return self._outdated


def _stamp(path: Path) -> tuple[int, ...]:
    """Return the state of a file; for a recent change, a unique one, for the clock of the file system is coarse."""
    try:
        found = os.stat(path)
    except OSError as error:
        return (error.errno or 0,)
    unsettled = abs(time.time() - found.st_mtime) < YOUNG
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, time.monotonic_ns() if unsettled else 0)


class FileSecret(Generic[T]):
    """The result of `read` for files, reloaded when they change.

    A secret that can no longer be read is no longer valid.
    """

    def __init__(
        self, paths: Sequence[Path], read: Callable[[], T], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Read immediately. `read` raises ConfigError for an invalid secret. It blocks; later calls are in a thread."""
        self._files, self._read_files = FileWatch(paths, clock), read
        self._value: T | None = None
        self._error: Exception | None = None
        self._read()

    async def get(self) -> T:
        """Return the current secret. Raises as `read`."""
        if await self._files.outdated():
            try:
                await asyncio.to_thread(self._read)
            except Exception as error:  # noqa: BLE001 - raised below, now and until the files change again
                self._error = error
        if self._error is not None:
            raise self._error
        assert self._value is not None
        return self._value

    def _read(self) -> None:
        stamp = self._files.stamp()
        try:
            self._value, self._error = self._read_files(), None
        finally:
            self._files.read(stamp)
