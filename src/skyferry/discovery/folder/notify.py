"""The operating system's notifications about one folder, off the event loop."""

from __future__ import annotations

import asyncio
import os
import threading
from concurrent.futures import ThreadPoolExecutor

from watchfiles._rust_notify import RustNotify, WatchfilesRustInternalError

from skyferry.errors import StoreUnavailable

DEBOUNCE = 200  # milliseconds that changes are gathered for at most
STEP = 50  # milliseconds of silence that end the gathering
TIMEOUT = 1000  # milliseconds after which to see whether the folder is still the same


class Broken(Exception):
    """Notifications have ended; the folder may have been replaced."""


class Notifications:
    """Use once: `open`, then `next` until it raises, then `close`."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._held = -1
        self._stop = threading.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="watch")  # its own: it waits for ever

    async def open(self) -> None:
        """From the return on, no change is missed (but for an overflow of the system's queue, which nobody tells)."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._open)

    async def next(self) -> set[tuple[int, str]]:
        """(1 added, 2 modified, 3 deleted; path), {} if nothing changes for a second. Raises Broken."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._next)

    def close(self) -> None:
        """The thread ends within STEP."""
        self._stop.set()
        self._thread.submit(self._close)
        self._thread.shutdown(wait=False)

    def _open(self) -> None:
        try:
            self._held = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            self._notify = RustNotify([self._folder], False, False, 300, True, True)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise Broken from error
        except (OSError, WatchfilesRustInternalError) as error:
            hint = "raise fs.inotify.max_user_watches and max_user_instances, or set watch: false"
            raise StoreUnavailable(f"cannot be watched: {error}", where=self._folder, hint=hint) from error

    def _next(self) -> set[tuple[int, str]]:
        try:
            if not self._same():
                raise Broken
            changes = self._notify.watch(DEBOUNCE, STEP, TIMEOUT, self._stop)
        except (OSError, WatchfilesRustInternalError) as error:
            raise Broken from error
        return set() if isinstance(changes, str) else changes

    def _same(self) -> bool:
        """Whether the path still leads to the folder that is watched (held open, so that its inode is not given away)."""
        return os.path.samestat(os.fstat(self._held), os.stat(self._folder))

    def _close(self) -> None:
        if self._held >= 0:
            os.close(self._held)
            self._held = -1
