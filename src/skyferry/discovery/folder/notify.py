"""The operating system's notifications about one folder, off the event loop, where there is no inotify."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from skyferry.errors import StoreUnavailable

DEBOUNCE = 200  # milliseconds: longest time to collect changes
STEP = 50  # milliseconds without a change that end the collection, and between looks for one
CALM_STEP = 100  # the same after CALM: each look wakes the thread up
CALM = 10  # calls in a row that found no change, one per second
TIMEOUT = 1000  # milliseconds between checks that the folder was not replaced
INSTANCES = Path("/proc/sys/fs/inotify/max_user_instances")


class WatchEnded(Exception):
    """The end of the notifications; the folder may have been replaced."""


class Notifications:
    """Notifications of one folder. Use once: `open`, then `next_changes` until it raises, then `close`."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._held = -1
        self._calls = 0  # since the last change
        self._stop = threading.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="watch")  # a separate one: its calls block for long

    async def open(self) -> None:
        """Start. Later changes are not missed, unless the system's queue overflows, which is not reported."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._open)

    async def next_changes(self) -> set[tuple[int, str]]:
        """Return (1 added, 2 modified, 3 deleted; path), or {} after a second without changes. Raises WatchEnded."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._next)

    def wake(self) -> None:
        """Let `next_changes` return soon. It returns every second."""

    def close(self) -> None:
        """Stop. The thread ends within CALM_STEP."""
        self._stop.set()
        self._thread.submit(self._close)
        self._thread.shutdown(wait=False)

    def _open(self) -> None:
        from watchfiles._rust_notify import RustNotify, WatchfilesRustInternalError

        with translate_errors(self._folder, WatchfilesRustInternalError):
            self._held = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            self._notify = RustNotify([self._folder], False, False, 300, True, True)

    def _next(self) -> set[tuple[int, str]]:
        from watchfiles._rust_notify import WatchfilesRustInternalError

        try:
            if not self._same():
                raise WatchEnded
            step = STEP if self._calls < CALM else CALM_STEP
            changes = self._notify.watch(DEBOUNCE, step, TIMEOUT, self._stop)
        except (OSError, WatchfilesRustInternalError) as error:
            raise WatchEnded from error
        found: set[tuple[int, str]] = set() if isinstance(changes, str) else changes
        self._calls = 0 if found else self._calls + 1
        return found

    def _same(self) -> bool:
        """Return True if the path is still the watched folder. It is kept open, so that its inode is not reused."""
        return os.path.samestat(os.fstat(self._held), os.stat(self._folder))

    def _close(self) -> None:
        if self._held >= 0:
            os.close(self._held)
            self._held = -1


@contextmanager
def translate_errors(folder: str, *others: type[Exception]) -> Iterator[None]:
    """Raise StoreUnavailable for an OSError and for `others`, when notifications are opened; WatchEnded if there is no folder."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError) as error:
        raise WatchEnded from error
    except Exception as error:
        if not isinstance(error, (OSError, *others)):
            raise
        raise StoreUnavailable(f"cannot be watched: {error}", where=folder, hint=_suggest(error)) from error


def _suggest(error: Exception) -> str:
    """Return the hint. The system has one error for two limits, so the hint names both with their values."""
    if not isinstance(error, OSError) or error.errno != errno.EMFILE:
        return "raise fs.inotify.max_user_watches and max_user_instances, or set watch: false"
    try:
        instances = INSTANCES.read_text("ascii").strip()
    except OSError:  # no descriptor is left, or the system has no such limit
        instances = "few"
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return (
        f"each watched folder takes two of the {files} files that this process may open (ulimit -n, LimitNOFILE) and one of "
        f"the {instances} inotify instances of this user (fs.inotify.max_user_instances): raise the limit, or set watch: false"
    )
