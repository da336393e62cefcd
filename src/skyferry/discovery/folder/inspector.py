"""Inspect changed paths: an event, a file being written, a new or deleted folder. Blocking: runs in a thread."""

from __future__ import annotations

import errno
import os
import stat
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import accumulate
from pathlib import Path

from skyferry.discovery.folder.wholeness import Wholeness, check_wholeness, has_reliable_leases
from skyferry.errors import InvalidKey
from skyferry.frozen import dataclass
from skyferry.model import Change, ObjectEvent, ObjectRef, Position, Provider

OWN = ".skyferry"  # Skyferry's folder in a bucket, never an object
ADDED, MODIFIED, DELETED = 1, 2, 3  # watchfiles' numbers
_NAMESPACE = uuid.UUID("6f0f9c1e-6b0e-4f0d-9d0b-0c8f6a1d2e57")  # of event ids; arbitrary, but constant
_OURS = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)  # errors of this process, not of the path
_SLACK = 50_000_000  # nanoseconds that a file's timestamp may be behind the clock


@dataclass(frozen=True, slots=True)
class WatchedFolder:
    """A local folder that serves as a bucket."""

    folder: Path
    store: str  # its name
    bucket: str  # its name in events
    key_of: Callable[[str], str]  # path in the folder (a/b) -> key; raises InvalidKey
    path_of: Callable[[str], str]  # the inverse; raises InvalidKey
    special: Callable[[str, int], None] = lambda path, mode: None  # gets links, pipes, sockets and devices
    follows: Callable[[str], bool] = lambda path: False  # True if the link at this path is an object


@dataclass(frozen=True, slots=True)
class UnfinishedPath:
    """A file being written, or a new folder to inspect once more. `mark` changes as the file grows."""

    path: str
    mark: tuple[int, ...] = ()
    since: int = 0  # nanoseconds since 1970: first sight of the mark; for a folder, inspect only newer files


@dataclass(frozen=True, slots=True)
class DeletedFolder:
    """A deleted folder. Its objects, whose keys begin with `prefix`, get no notifications."""

    prefix: str


@dataclass(frozen=True, slots=True)
class UnreadablePath:
    """A path that is not a valid key or cannot be read."""

    path: str
    message: str


@dataclass(frozen=True, slots=True)
class SpecialFile:
    """A link, pipe, socket or device."""

    path: str  # in the bucket
    mode: int  # from `stat`


PathChange = ObjectEvent | UnfinishedPath | DeletedFolder | UnreadablePath | SpecialFile


def build_event(change: Change, source: ObjectRef, version: str, position: Position, size: int | None) -> ObjectEvent:
    """Create the event of one state of an object; the same state always has the same event id. `position` is a time.

    The reference has no version: a file that is moved away and back has its old version, but needs a new event.
    """
    state = "\0".join((source.bucket, source.key, change, version, position.value))
    ident = str(uuid.uuid5(_NAMESPACE, state))
    return ObjectEvent(ident, change, source, int(position.value) / 1e9, ident, position, size=size)


class PathInspector:
    """An inspector of paths. It remembers folders, because a deleted path no longer shows its type.

    Raises OSError only if this process has no file descriptors or memory left: the path's state is then unknown.
    """

    def __init__(self, watched: WatchedFolder, now: Callable[[], float], settle: float) -> None:
        """Count a file as whole after `settle` seconds without a change, if the system cannot show open files."""
        self._watched, self._now, self._settle = watched, now, round(settle * 1e9)
        self.root = os.path.realpath(watched.folder)
        self._folders: set[str] = set()
        self._closed: set[str] = set()  # folders without read permission
        self._leases = False
        self.opened = False  # one of these has become readable; `scan_folders` resets it

    def scan_folders(self) -> None:
        """Find the existing folders, and check if the filesystem has reliable leases."""
        self._leases = has_reliable_leases(self._watched.folder / OWN)
        self._closed, self.opened = set(), False
        self._folders = {self.root, *self._find_folders(self.root)}

    def inspect_changes(self, kinds: Mapping[str, set[int]]) -> Iterator[PathChange]:
        """Yield the present state of changed paths. Parents come first: a new folder is known before its files."""
        gone = {p for p in kinds if DELETED in kinds[p] and p in self._folders and p != self.root}
        walked: set[str] = set()
        for path in sorted(kinds):
            parent = os.path.dirname(path)
            self.opened = self.opened or (path in self._closed and _readable(path))
            if (
                not self._relative(path)
                or not walked.isdisjoint(_list_parents(parent))
                or not self._has_no_link(parent)
            ):
                continue
            added = ADDED in kinds[path]
            if _is_folder(path):
                if added:
                    walked.add(path)
                if DELETED in kinds[path] and path not in self._folders:  # an object had this path before
                    yield from self._event(path, Change.DELETED, "", self._now_ns(), None)
            yield from self._inspect(path, added, None)
        if gone:
            vanished = {f for f in self._folders if not gone.isdisjoint(_list_parents(f)) and not os.path.isdir(f)}
            self._folders -= vanished
            for path in gone:
                if gone.isdisjoint(_list_parents(os.path.dirname(path))) and (key := self._key(path)) is not None:
                    yield DeletedFolder(f"{key}/")

    def inspect_again(self, waiting: Iterable[UnfinishedPath]) -> Iterator[PathChange]:
        """Inspect unfinished paths once more."""
        for unfinished in waiting:
            if unfinished.mark:
                yield from self._inspect(unfinished.path, False, unfinished)
            else:
                yield from self._walk(unfinished.path, unfinished.since)

    def inspect_listed(self, events: Iterable[ObjectEvent]) -> Iterator[PathChange]:
        """Yield events from a listing, for files only once they are whole."""
        for event in events:
            if event.change is Change.DELETED:
                yield event
            else:
                path = os.path.join(self.root, self._watched.path_of(event.source.key))
                yield from self._inspect(path, False, None)

    def _inspect(self, path: str, added: bool, before: UnfinishedPath | None) -> Iterator[PathChange]:
        now = self._now_ns()  # before `lstat`: the path may change right after it
        try:
            info = os.lstat(path)
            if stat.S_ISDIR(info.st_mode):
                if added or path not in self._folders:
                    yield from self._walk(path, 0)
                    yield UnfinishedPath(path, since=now - _SLACK)  # for files created before the watch began
            elif stat.S_ISREG(info.st_mode):
                yield from self._inspect_file(path, info, before, now)
            elif stat.S_ISLNK(info.st_mode) and self._watched.follows(self._relative(path)):
                yield from self._event(path, Change.CREATED, "", info.st_ctime_ns, None)
            else:  # it may have replaced an object, which is not a delete
                yield SpecialFile(self._relative(path).encode(errors="backslashreplace").decode(), info.st_mode)
        except (FileNotFoundError, NotADirectoryError):
            if path not in self._folders:
                yield from self._event(path, Change.DELETED, "", now, None)
        except OSError as error:
            yield _unreadable(path, error)

    def _inspect_file(
        self, path: str, info: os.stat_result, before: UnfinishedPath | None, now: int
    ) -> Iterator[PathChange]:
        mark = (info.st_ino, info.st_size, info.st_mtime_ns)
        state = check_wholeness(path) if self._leases else Wholeness.UNKNOWN
        same = before is not None and before.mark == mark
        since = min(before.since, now) if before is not None and same else now  # the clock may have been set back
        if state is Wholeness.UNKNOWN:
            quiet = self._settle <= now - info.st_mtime_ns or (same and self._settle <= now - since)
            state = Wholeness.WHOLE if quiet else Wholeness.OPEN
        if state is Wholeness.OPEN:
            yield UnfinishedPath(path, mark, since)
        else:
            version = "-".join(f"{part:x}" for part in mark)
            yield from self._event(path, Change.CREATED, version, info.st_ctime_ns, info.st_size)

    def _event(self, path: str, change: Change, version: str, at: int, size: int | None) -> Iterator[PathChange]:
        try:
            key = self._watched.key_of(self._relative(path))
            self._watched.path_of(key)  # a path may be longer than a key
        except InvalidKey as error:
            if change is Change.CREATED:
                yield UnreadablePath(path, str(error))
            return
        source = ObjectRef(Provider.FILE, self._watched.bucket, key)
        yield build_event(change, source, version, Position.at(at), size)

    def _walk(self, folder: str, since: int) -> Iterator[PathChange]:
        """Yield the files in and below a folder that changed since `since`."""
        self._folders.add(folder)
        for path in [folder, *self._find_folders(folder)]:
            self._folders.add(path)
            try:
                with os.scandir(path) as entries:
                    for entry in entries:
                        if entry.is_file(follow_symlinks=False) and _changed(entry, since):
                            yield from self._inspect(entry.path, False, None)
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                yield _unreadable(path, error)

    def _find_folders(self, folder: str) -> Iterator[str]:
        """Yield the folders below, parents first. Do not follow links: their targets are not in the bucket."""
        below = [folder]
        while below:
            path = below.pop()
            try:
                with os.scandir(path) as entries:
                    found = [e.path for e in entries if e.is_dir(follow_symlinks=False) and self._relative(e.path)]
            except OSError as error:  # deleted, or not readable
                if error.errno in _OURS:
                    raise
                if isinstance(error, PermissionError):
                    self._closed.add(path)
                continue
            self.opened = self.opened or path in self._closed
            yield from found
            below += found

    def _has_no_link(self, parent: str) -> bool:
        """Return True if no link is in the path: links lead out of the bucket."""
        if parent in self._folders:
            return True
        links = (p for p in _list_parents(parent) if len(p) > len(self.root) and os.path.islink(p))
        return next(links, None) is None

    def _relative(self, path: str) -> str:
        """Return the path in the bucket; "" for the bucket itself and for paths in OWN."""
        inside = path[len(self.root) + 1 :]
        return "" if inside == OWN or inside.startswith(f"{OWN}/") else inside

    def _key(self, path: str) -> str | None:
        try:
            return self._watched.key_of(self._relative(path))
        except InvalidKey:
            return None

    def _now_ns(self) -> int:
        return int(self._now() * 1e9)


def _unreadable(path: str, error: OSError) -> UnreadablePath:
    """Report a path that cannot be inspected. Raises the error if its cause is this process."""
    if error.errno in _OURS:
        raise error
    return UnreadablePath(path, str(error))


def _changed(entry: os.DirEntry[str], since: int) -> bool:
    try:
        return since == 0 or entry.stat(follow_symlinks=False).st_ctime_ns >= since
    except OSError:
        return True  # inspect it


def _readable(path: str) -> bool:
    try:
        os.scandir(path).close()
    except OSError:
        return False
    return True


def _is_folder(path: str) -> bool:
    return os.path.isdir(path) and not os.path.islink(path)


def _list_parents(path: str) -> Iterator[str]:
    """/a/b/c -> /a, /a/b, /a/b/c"""
    return accumulate(path.split("/")[1:], lambda above, name: f"{above}/{name}", initial="")
