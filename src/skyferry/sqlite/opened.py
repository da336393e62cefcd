"""A check that an open file is still the one at its path. What is written to any other is read by no process that starts later.

The same goes for its log and its shared memory, which SQLite has open too: with another log or other shared memory at the path,
the next process would neither see what this one writes nor wait for its locks.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from skyferry.errors import LedgerError, QueueError, SkyferryError
from skyferry.sqlite.filesystem import find_second_name
from skyferry.sqlite.log import list_parts
from skyferry.sqlite.owners import OwnerLock

_HINTS: Mapping[type[SkyferryError], str] = {
    LedgerError: "put it back, and work goes on; otherwise stop the service, restore a backup or run `skyferry ledger rebuild`, "
    "and start it again; see docs/operations/ledger.md",
    QueueError: "put it back, and work goes on; otherwise start the service again, which lists watched folders, and submit again "
    "what else was in it; see docs/operations/ledger.md",
}
SECONDS = 1.0  # between looks for the log and the shared memory: until then what is written is in the log that is open
_PART_HINT = "stop all processes that use it, then start them again: the last one writes back what the log had"
_END = "end that process, then start this one again; see docs/operations/ledger.md"
ONE_NAME = "Remove its other names, or mount its folder instead of the file; to copy it, use `skyferry ledger backup`."
TRIES, PAUSE = 50, 0.01  # looks at a process that seems to have other files open, and seconds between them


class OpenedFile:
    """A file that this process has open, so that its inode is not reused."""

    def __init__(self, path: Path, error: type[SkyferryError]) -> None:
        """Remember which files are at `path`. Raises OSError."""
        self._path, self._error = str(path.absolute()), error  # with its `..`, which may follow a link
        self._places = {self._path: _find_place(self._path)}
        self._look_at = time.monotonic()
        for part in map(str, list_parts(path)[1:]):
            if os.path.exists(part):  # SQLite has neither on a filesystem that cannot share memory
                self._places[part] = _find_place(part)

    def require_in_place(self) -> None:
        """Raise the error if a file was moved away, deleted or replaced. Log and shared memory are looked for each second."""
        self._require(self._path, self._places[self._path])
        if (now := time.monotonic()) >= self._look_at:
            for part, place in self._places.items():
                self._require(part, place)
            self._look_at = now + SECONDS

    def _require(self, part: str, place: tuple[int, int]) -> None:
        try:
            if _find_place(part) == place:
                return
            what = "another file is at its path now"
        except (FileNotFoundError, NotADirectoryError):
            what = "it was moved away or deleted"
        except OSError:  # a parent cannot be read any more; the file itself may be intact
            return
        hint = _HINTS.get(self._error, "") if part == self._path else _PART_HINT
        raise self._error(f"{what} while this process has it open", where=part, hint=hint, transient=False)

    def register(self, presence: OwnerLock) -> None:
        """Let the processes that start later compare, with `require_same_files`. Raises OSError."""
        presence.describe(" ".join(f"{inode}" for _, inode in self._places.values()))


def require_one_name(path: Path, error: type[SkyferryError]) -> None:
    """Raise the error if the file has a second name. Two processes that open it by two names damage it."""
    if second := find_second_name(path):
        raise error(
            f"it {second}: SQLite keeps another log for each name", where=str(path), hint=ONE_NAME, transient=False
        )


def require_same_files(path: Path, presence: OwnerLock, error: type[SkyferryError]) -> None:
    """Raise the error if a live process has other files open than those at `path` now.

    Both would write to one log, or have no lock in common. Inodes are compared, which only processes of one machine can share.
    A process that closes is waited for: SQLite deletes log and shared memory with the last connection, before it unregisters.
    """
    for _ in range(TRIES):
        if (name := _find_stranger(path, presence)) is None:
            return
        time.sleep(PAUSE)
    what = "has it open, but the file, its log (-wal) or its shared memory (-shm) was moved away or replaced since"
    raise error(f"{name} {what}", where=str(path), hint=_END, transient=False)


def _find_stranger(path: Path, presence: OwnerLock) -> str | None:
    """Return the name of a live process that has other files open than those at `path`."""
    found = [_find_inode(part) for part in list_parts(path)]
    for name, description in presence.find_descriptions().items():
        opened = description.split(" ") if description else []  # releases before this one had none
        if opened != found[: len(opened)]:
            return name
    return None


def _find_inode(part: Path) -> str:
    with suppress(FileNotFoundError, NotADirectoryError):
        return str(part.stat().st_ino)
    return ""


def _find_place(path: str) -> tuple[int, int]:
    found = os.stat(path)
    return found.st_dev, found.st_ino
