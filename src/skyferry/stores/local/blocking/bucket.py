"""The open folder of a local bucket, and its private folders. Blocking: runs in the store's threads."""

from __future__ import annotations

import errno
import fcntl
import os
import threading
import time
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import field
from pathlib import Path

from skyferry.errors import BucketNotFound
from skyferry.frozen import dataclass
from skyferry.stores.local.blocking.files import DIRECTORY, close_to_others, descend
from skyferry.stores.local.names import PRIVATE

TMP = "tmp"  # the private folder of unfinished writes
UPLOADS = "uploads"  # and that of the journals of unfinished uploads
LOCKS = "locks"
OWN = 0o700  # permissions of private folders: other users could take the locks, or read unfinished writes
STRIPES = 64  # locks per bucket
ABSENT = "the folder does not exist"
REPLACED = "the folder is not the one that was filled before"
TAKEN = "another folder is in its place now"


FolderIdentity = tuple[int, int]  # device and inode; no other folder gets them as long as a process holds this one open


def identify(stat: os.stat_result) -> FolderIdentity:
    """Return the identity of a folder."""
    return stat.st_dev, stat.st_ino


@dataclass(frozen=True, slots=True)
class ExpectedFolder:
    """The condition under which the folder at a path is the bucket."""

    missing: type[BucketNotFound] = BucketNotFound  # raised otherwise
    is_same: Callable[[int], bool] = lambda root: True  # takes its file descriptor
    hint: str = "create the folder, or check that its disk is mounted"
    identity: FolderIdentity | None = None  # no other is the bucket, such as the mount point of an unmounted disk


@dataclass(slots=True)
class _Held:
    """A directory that was the bucket when it was opened, and its private folders."""

    identity: FolderIdentity
    root: int
    own: dict[str, int] = field(default_factory=dict)
    locks: dict[int, int] = field(default_factory=dict)  # open files of `locks/`, by stripe
    private: int | None = None  # `.skyferry`, with a shared lock, so that it is not removed meanwhile


class _KeyLock:
    """See `BucketFolder.locked`. A generator would take three times as long."""

    __slots__ = ("_file", "_memory", "_open", "_stripe")

    def __init__(self, memory: threading.Lock, open_lock: Callable[[int], int], stripe: int) -> None:
        self._memory, self._open, self._stripe = memory, open_lock, stripe

    def __enter__(self) -> None:
        self._memory.acquire()
        try:
            file = self._file = self._open(self._stripe)
            fcntl.flock(file, fcntl.LOCK_EX)
            try:
                if not os.fstat(file).st_nlink:
                    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
            except BaseException:  # an interrupt too: the file stays open, and so would its lock
                fcntl.flock(file, fcntl.LOCK_UN)
                raise
        except BaseException:  # an interrupt too: the key would stay locked
            self._memory.release()
            raise

    def __exit__(self, *_: object) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_UN)
        finally:
            self._memory.release()


class BucketFolder:
    """The bucket's folder, reopened when another folder replaces it. It owns the file descriptors that it returns."""

    def __init__(self, folder: Path, expected: ExpectedFolder, durable: bool = True) -> None:
        """Unless `durable`, nothing is flushed to the disk."""
        self.folder, self._path, self._expected, self.durable = folder, str(folder), expected, durable
        self._held: list[_Held] = []  # the last is the bucket; file descriptors of the others may still be in use
        self._stale: list[int] = []
        self._opening = threading.Lock()
        self._stripes = [threading.Lock() for _ in range(STRIPES)]

    def root(self) -> int:
        """Return the bucket's directory. Raises BucketNotFound."""
        return self._now().root

    def first_root(self) -> int:
        """Return the directory that was opened first, before all writes. It stays open, even if another folder replaces it."""
        return self._held[0].root if self._held else self._now().root

    def own(self, name: str) -> int:
        """Return a private folder of the bucket that `root` last returned. Create it if necessary. Raises BucketNotFound."""
        held = self._held[-1] if self._held else self._now()
        file = held.own.get(name)
        return self._open_own(held, name, create=True) if file is None else file

    def existing(self, name: str) -> int | None:
        """Return a private folder, or None if it does not exist. Raises BucketNotFound."""
        held = self._now()
        file = held.own.get(name)
        with suppress(FileNotFoundError):
            return self._open_own(held, name, create=False) if file is None else file
        return None

    def renew(self) -> None:
        """Reopen the private folders, and create them again where they were removed."""
        with self._opening:
            for held in self._held:
                self._stale += [*held.own.values(), *held.locks.values()]
                self._stale += [held.private] if held.private is not None else []
                held.own, held.locks, held.private = {}, {}, None

    def locked(self, names: Sequence[str]) -> _KeyLock:
        """Lock a key against changes by Skyferry, in this process and others, inside a `with` block.

        A lock in memory excludes the threads of one process, because over NFS the file's lock belongs to the process. The files
        stay open. Entering raises FileNotFoundError if the file was removed: then others use another one, until `renew` is called.
        """
        stripe = zlib.crc32("/".join(names).encode()) % STRIPES
        return _KeyLock(self._stripes[stripe], self._open_lock, stripe)

    def sweep(self, older: float) -> None:
        """Remove unfinished writes and uploads that have not changed for `older` seconds: their writers have ended."""
        for folder in (self.existing(TMP), self.existing(UPLOADS)):
            for name in os.listdir(folder) if folder is not None else []:
                with suppress(FileNotFoundError):
                    if os.stat(name, dir_fd=folder, follow_symlinks=False).st_mtime < time.time() - older:
                        os.unlink(name, dir_fd=folder)

    def close(self) -> None:
        """Close all file descriptors. No call may be in progress. Idempotent."""
        self.renew()
        for file in (*self._stale, *(held.root for held in self._held)):
            os.close(file)
        self._stale, self._held = [], []

    def _now(self) -> _Held:
        try:
            stat = os.stat(self._path)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise self._absent(ABSENT) from error
        if self._held and (held := self._held[-1]).identity == identify(stat):
            return held
        return self._open()

    def _open(self) -> _Held:
        try:
            root = os.open(self.folder, DIRECTORY & ~os.O_NOFOLLOW)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise self._absent(ABSENT) from error
        try:
            same = self._expected.is_same(root)
        except OSError:
            os.close(root)
            raise
        identity = identify(os.fstat(root))
        if not same or self._expected.identity not in (None, identity):
            os.close(root)
            raise self._absent(TAKEN if same else REPLACED)
        with self._opening:
            self._held.append(_Held(identity, root))
            return self._held[-1]

    def _open_lock(self, stripe: int) -> int:
        """Return the open file of a stripe, which the caller has locked in memory."""
        folder = self.own(LOCKS)
        locks = self._held[-1].locks
        if stripe not in locks:
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            locks[stripe] = os.open(f"{stripe:02}", flags, 0o600, dir_fd=folder)
        return locks[stripe]

    def _absent(self, message: str) -> BucketNotFound:
        return self._expected.missing(message, where=str(self.folder), hint=self._expected.hint)

    def _open_own(self, held: _Held, name: str, create: bool) -> int:
        with self._opening:
            if name not in held.own:
                mode = OWN if create else None
                private = descend(held.root, PRIVATE, mode, self.durable)
                try:
                    close_to_others(private)  # an earlier version left it open to other users
                    if held.private is None:
                        with suppress(OSError):  # the filesystem may have no locks; then it is not removed either
                            fcntl.flock(private, fcntl.LOCK_SH)
                    held.own[name] = descend(private, name, mode, self.durable)
                except BaseException:
                    os.close(private)
                    raise
                if held.private is None:
                    held.private = private
                else:
                    os.close(private)
            return held.own[name]
