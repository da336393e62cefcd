"""A check that an open file is still the one at its path. What is written to any other is read by no process that starts later."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from skyferry.errors import LedgerError, QueueError, SkyferryError

_HINTS: Mapping[type[SkyferryError], str] = {
    LedgerError: "put it back, and work goes on; otherwise stop the service, restore a backup or run `skyferry ledger rebuild`, "
    "and start it again; see docs/operations/ledger.md",
    QueueError: "put it back, and work goes on; otherwise start the service again, which lists watched folders, and submit again "
    "what else was in it; see docs/operations/ledger.md",
}


class OpenedFile:
    """A file that this process has open, so that its inode is not reused."""

    def __init__(self, path: Path, error: type[SkyferryError]) -> None:
        """Remember which file is at `path`. Raises OSError."""
        self._path, self._error = str(path.absolute()), error  # with its `..`, which may follow a link
        self._place = _find_place(self._path)

    def require_in_place(self) -> None:
        """Raise the error if the file was moved away, deleted or replaced. It costs one system call."""
        try:
            if _find_place(self._path) == self._place:
                return
            what = "another file is at its path now"
        except (FileNotFoundError, NotADirectoryError):
            what = "it was moved away or deleted"
        except OSError:  # a parent cannot be read any more; the file itself may be intact
            return
        raise self._error(
            f"{what} while this process has it open",
            where=self._path,
            hint=_HINTS.get(self._error, ""),
            transient=False,
        )


def _find_place(path: str) -> tuple[int, int]:
    found = os.stat(path)
    return found.st_dev, found.st_ino
