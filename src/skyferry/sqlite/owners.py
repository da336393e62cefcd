"""The processes that have a file open, known by advisory locks."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

TRIES = 20  # to lock a name that another process is only probing
PATIENCE = 30.0  # seconds after which a turn counts as lost to a process that is stopped or hangs
PAGE = bytes(4096)
POLL = 0.005  # seconds between tries to open a file that others write to


class OwnerLock:
    """One process's registration beside a file. The kernel drops the lock when the process dies, in whatever way."""

    def __init__(self, folder: Path, owner: str) -> None:
        """Register. Raises BlockingIOError if a live process has this name."""
        self._mine = folder / owner
        self.folder = folder
        folder.mkdir(mode=0o700, exist_ok=True)
        if folder.stat().st_uid == os.geteuid():
            folder.chmod(0o700)  # earlier versions made it accessible to other users, who could take the locks
        tries = 0
        while (file := _lock(self._mine, "ab")) is None:
            if (tries := tries + 1) == TRIES:  # a process that probes for dead owners locks it for microseconds only
                raise BlockingIOError(f"a process named {owner} has it open")
            time.sleep(0.01)
        try:
            self._turns = os.open(folder, os.O_RDONLY)
        except OSError:
            file.close()
            raise
        self._file = file
        self._length = 0  # bytes of the description
        self._waiting_since: float | None = None  # monotonic

    @contextlib.contextmanager
    def take_turn(self) -> Iterator[None]:
        """Let one process at a time inside. The kernel wakes the others in their order, without sleeps.

        SQLite sleeps up to 100 ms between two tries, and whichever process comes just then passes: of two that each wrote half
        of the time, one waited for 0.7 s, of four for 1.1 s. The turn is only a place in the line; SQLite's lock protects.
        """
        try:
            fcntl.flock(self._turns, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._waiting_since = time.monotonic()
            try:
                fcntl.flock(self._turns, fcntl.LOCK_EX)
            finally:
                self._waiting_since = None
        try:
            yield
        finally:
            fcntl.flock(self._turns, fcntl.LOCK_UN)

    @property
    def lost_turn(self) -> bool:
        """True if this process has waited `PATIENCE` for its turn: another one is stopped, or hangs, in the middle of its own."""
        since = self._waiting_since
        return since is not None and time.monotonic() - since >= PATIENCE

    @contextlib.contextmanager
    def take_first_turn(self) -> Iterator[None]:
        """Like `take_turn`, for the opening of the file. Raises BlockingIOError after `PATIENCE`."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                fcntl.flock(self._turns, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise BlockingIOError("another process keeps it locked; end that process") from None
            time.sleep(POLL)
        try:
            yield
        finally:
            fcntl.flock(self._turns, fcntl.LOCK_UN)

    def announce(self) -> None:
        """Announce to the other processes that there is something for them. It costs one system call.

        The announcement is the time of the folder, because every process has it open, and a write to the file itself would also
        wake those that only end their own work. One that gets lost is made up for by the next look.
        """
        now = time.time_ns()
        with contextlib.suppress(OSError):  # the user is not the owner of the folder, or the disk is read-only
            os.utime(self._turns, ns=(now, now))

    def find_last_announcement(self) -> int:
        """Return a mark of the last announcement, also of this process. It does not block."""
        return os.fstat(self._turns).st_mtime_ns

    def describe(self, text: str) -> None:
        """Set what `find_descriptions` of other processes returns for this one. Raises OSError."""
        os.ftruncate(self._file.fileno(), 0)
        os.write(self._file.fileno(), text.encode())  # a buffer would keep it on a full disk, and fail `close` as well
        self._length = len(text)

    def find_descriptions(self) -> dict[str, str]:
        """Return the description of each other live process; "" for one that has none, or that cannot be read."""
        found = {}
        for name in _find_locked(self.folder):
            if name != self._mine.name:
                with contextlib.suppress(OSError):
                    found[name] = (self.folder / name).read_text("ascii", "replace")
        return found

    def probe_disk(self, offset: int) -> None:
        """Write a page to the file of this process and take it back. Raises OSError if the disk has no room, or is read-only."""
        file = os.open(self._mine, os.O_WRONLY)
        try:
            os.pwrite(file, PAGE, offset + self._length)
        finally:
            os.ftruncate(file, self._length)
            os.close(file)

    def find_dead(self) -> list[str]:
        """Return owners whose process is gone. Call `forget` once their leases are freed.

        If the folder cannot be read (no file descriptor is left, it was removed), all owners count as alive: their leases
        expire by time.
        """
        with contextlib.suppress(OSError):
            return [path.name for path in self.folder.iterdir() if path != self._mine and _is_free(path)]
        return []

    def forget(self, owners: list[str]) -> None:
        """Unregister dead owners. One that is alive again is kept; one that cannot be removed is found again later."""
        for owner in owners:
            with contextlib.suppress(OSError):
                if (file := _lock(self.folder / owner, "rb")) is not None:
                    with file:
                        (self.folder / owner).unlink()

    def close(self) -> None:
        """Unregister."""
        self._mine.unlink(missing_ok=True)
        self._file.close()
        os.close(self._turns)


def find_users(path: Path) -> list[str]:
    """Return the names of the processes that have a file open."""
    return sorted(_find_locked(owners_folder(path)))


def _find_locked(folder: Path) -> Iterator[str]:
    return (each.name for each in folder.iterdir() if not _is_free(each)) if folder.is_dir() else iter(())


def owners_folder(path: Path) -> Path:
    """Return the folder of the locks next to a file, or next to the file to which a symbolic link leads."""
    return Path(f"{os.path.realpath(path)}.owners")


def _lock(path: Path, mode: str) -> IO[bytes] | None:
    """Return the file, locked; None if another process has the lock or has removed the file meanwhile."""
    file: IO[bytes] = path.open(mode)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(file.fileno()).st_ino == path.stat().st_ino:
            return file
    except (BlockingIOError, FileNotFoundError):
        pass
    file.close()
    return None


def _is_free(path: Path) -> bool:
    with contextlib.suppress(OSError):
        if (file := _lock(path, "rb")) is not None:
            file.close()
            return True
    return False
