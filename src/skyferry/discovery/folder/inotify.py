"""Notifications about a folder and all below it, by inotify. A thread waits for them, and wakes up for little else."""

from __future__ import annotations

import asyncio
import os
import select
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from skyferry.discovery.folder.inspector import ADDED, DELETED, MODIFIED, OWN
from skyferry.discovery.folder.notify import WatchEnded, translate_errors
from skyferry.errors import StoreUnavailable
from skyferry.sqlite.inotify import (
    IN_ATTRIB,
    IN_CLOSE_WRITE,
    IN_CREATE,
    IN_DELETE,
    IN_DELETE_SELF,
    IN_DONT_FOLLOW,
    IN_IGNORED,
    IN_ISDIR,
    IN_MODIFY,
    IN_MOVE_SELF,
    IN_MOVED_FROM,
    IN_MOVED_TO,
    IN_ONLYDIR,
    IN_Q_OVERFLOW,
    IN_UNMOUNT,
    Inotify,
)

GATHER = 0.05  # seconds in which changes gather: most files are whole after them
QUIET = 1.0  # seconds without a change that end a burst
CHECK = 5.0  # seconds between checks that nothing was mounted over the folder, which is not notified
READS = 16  # at once, which is more than the system keeps: changes that never end must not hide those before
HEADER = struct.Struct("iIII")  # watch, mask, cookie, length of the name

COME, GONE = IN_CREATE | IN_MOVED_TO, IN_DELETE | IN_MOVED_FROM
CHANGES = COME | GONE | IN_MODIFY | IN_ATTRIB | IN_CLOSE_WRITE
REPLACED = IN_DELETE_SELF | IN_MOVE_SELF
ENDED = REPLACED | IN_UNMOUNT | IN_IGNORED
_UNWATCHED = (FileNotFoundError, NotADirectoryError, PermissionError)  # gone again, or its parent shows when it opens

Changes = set[tuple[int, str]]  # see `Notifications.next_changes`


class WatchTree:
    """The watches of a folder and of all folders below it, but links. Blocking, and for one thread at a time."""

    def __init__(self, root: str) -> None:
        """Watch. Later changes are not missed. Raises OSError."""
        info = os.stat(root)
        self._root, self._identity = root, (info.st_dev, info.st_ino)
        self._own = os.path.join(root, OWN)
        self._paths: dict[int, str] = {}  # by number of the watch
        self._inotify = Inotify()
        self.descriptor = self._inotify.descriptor
        try:
            self._above = {self._add(root, CHANGES | REPLACED)}  # the end of one of these is that of all
            for path in _list_parents(root):
                with suppress(*_UNWATCHED):
                    self._above.add(self._add(path, REPLACED))
            self._watch_below(root)
        except OSError:
            self.close()
            raise

    def read(self) -> Changes:
        """Return changes since the last call, in a flood not all. Raises WatchEnded, also if some got lost, and OSError."""
        found: Changes = set()
        for _ in range(READS):
            if not (data := self._inotify.read()):
                break
            for watch, mask, name in _parse(data):
                self._note(watch, mask, name, found)
        return found

    def check(self) -> None:
        """Raise WatchEnded if the path leads to another folder. Its number is not used again before its end is notified."""
        try:
            info = os.stat(self._root)
        except OSError as error:
            raise WatchEnded from error
        if (info.st_dev, info.st_ino) != self._identity:
            raise WatchEnded

    def close(self) -> None:
        """End all watches."""
        self._inotify.close()

    def _note(self, watch: int, mask: int, name: bytes, found: Changes) -> None:
        if mask & IN_Q_OVERFLOW or (watch in self._above and mask & ENDED):
            raise WatchEnded
        if mask & IN_IGNORED:
            self._paths.pop(watch, None)
        if not name or (folder := self._paths.get(watch)) is None:
            return
        if (path := os.path.join(folder, os.fsdecode(name))) == self._own:
            return
        if mask & IN_ISDIR and mask & IN_MOVED_FROM:  # the watch of a deleted folder ends by itself
            self._forget(path)
        elif mask & IN_ISDIR and mask & COME:
            with suppress(*_UNWATCHED):
                self._add(path, CHANGES)
                self._watch_below(path)
        found.add((ADDED if mask & COME else DELETED if mask & GONE else MODIFIED, path))

    def _watch_below(self, folder: str) -> None:
        """Watch the folders below a watched one. What is created meanwhile is found here, or notified."""
        waiting = [folder]
        while waiting:
            path = waiting.pop()
            with suppress(*_UNWATCHED), os.scandir(path) as entries:
                below = [e.path for e in entries if e.is_dir(follow_symlinks=False) and e.path != self._own]
                for each in below:
                    with suppress(*_UNWATCHED):
                        self._add(each, CHANGES)
                        waiting.append(each)

    def _add(self, path: str, mask: int) -> int:
        watch = self._inotify.watch(path, mask | IN_ONLYDIR | IN_DONT_FOLLOW)
        if mask & CHANGES:
            self._paths[watch] = path
        return watch

    def _forget(self, folder: str) -> None:
        """End the watches of a folder that has moved: they know it by its old path."""
        below = f"{folder}/"
        for watch in [w for w, path in self._paths.items() if path == folder or path.startswith(below)]:
            del self._paths[watch]
            self._inotify.forget(watch)


class TreeNotifications:
    """Like `Notifications`, without looks for changes while there are none."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._changes: Changes = set()
        self._failure: Exception | None = None
        self._burst = False  # changes were returned, and no end of them yet
        self._heard = asyncio.Event()
        self._stop: int | None = None

    async def open(self) -> None:
        """Start. Later changes are not missed; WatchEnded is raised if the system had no room for some."""
        self._loop = asyncio.get_running_loop()
        self._tree = await asyncio.to_thread(self._open)
        try:
            with translate_errors(self._folder):
                self._stop = os.eventfd(0, os.EFD_CLOEXEC)
        except StoreUnavailable:
            self._tree.close()
            raise
        threading.Thread(target=self._run, args=(self._stop,), name="watch", daemon=True).start()

    async def next_changes(self) -> Changes:
        """Return the next changes; {} once after a second without any. Raises WatchEnded and StoreUnavailable."""
        with suppress(TimeoutError):
            async with asyncio.timeout(QUIET if self._burst else None):
                await self._heard.wait()
        self._heard.clear()
        if self._failure:
            raise self._failure
        changes, self._changes = self._changes, set()
        self._burst = bool(changes)
        return changes

    def wake(self) -> None:
        """Let `next_changes` return, if need be with {}."""
        self._heard.set()

    def close(self) -> None:
        """Stop. The thread ends by itself."""
        if self._stop is not None:
            os.eventfd_write(self._stop, 1)
            self._stop = None

    def _open(self) -> WatchTree:
        with translate_errors(self._folder):
            return WatchTree(self._folder)

    def _run(self, stop: int) -> None:
        ready = select.poll()
        for descriptor in (stop, self._tree.descriptor):
            ready.register(descriptor, select.POLLIN)
        try:
            while stop not in (found := dict(ready.poll(CHECK * 1000))):
                if found:
                    time.sleep(GATHER)
                with translate_errors(self._folder):  # a new folder may be one too many
                    changes = self._tree.read()
                self._tree.check()
                if changes:
                    self._call(self._add, changes)
        except Exception as error:  # noqa: BLE001 - raised by `next_changes`, which would wait for ever otherwise
            self._call(self._fail, error)
        os.eventfd_read(stop)
        self._tree.close()
        os.close(stop)

    def _call(self, function: Callable[[Any], None], value: Changes | Exception) -> None:
        with suppress(RuntimeError):  # the loop was closed
            self._loop.call_soon_threadsafe(function, value)

    def _add(self, changes: Changes) -> None:
        self._changes |= changes
        self._heard.set()

    def _fail(self, error: Exception) -> None:
        self._failure = error
        self._heard.set()


def _parse(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Yield the number of the watch, the mask and the name of each notification."""
    at = 0
    while at < len(data):
        watch, mask, _, length = HEADER.unpack_from(data, at)
        at += HEADER.size + length
        yield watch, mask, data[at - length : at].rstrip(b"\0")


def _list_parents(path: str) -> Iterator[str]:
    """/a/b/c -> /a/b, /a, /"""
    while (above := os.path.dirname(path)) != path:
        yield (path := above)
