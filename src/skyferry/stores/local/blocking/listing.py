"""The listing of a bucket in the order of its keys, a directory at a time. Blocking: runs in the store's threads."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import groupby
from operator import attrgetter
from stat import S_ISREG

from skyferry.errors import InvalidKey, StoreUnavailable
from skyferry.frozen import dataclass
from skyferry.model import ObjectMeta
from skyferry.stores.local.blocking.bucket import BucketFolder
from skyferry.stores.local.blocking.files import DIRECTORY, opened, parent, special_kind
from skyferry.stores.local.blocking.links import file_behind
from skyferry.stores.local.metadata import summary
from skyferry.stores.local.names import is_private, key_of


@dataclass(frozen=True, slots=True)
class _Entry:
    key: str  # of a folder: with a slash at the end, by which it sorts
    name: str
    is_folder: bool


@dataclass(frozen=True, slots=True)
class Listeners:
    """Callbacks for paths that a listing leaves out."""

    unreadable: Callable[[str], None]  # paths
    special: Callable[[str, str], None]  # paths, and their kind: symlink, fifo, socket or device; it may raise


def walk(
    bucket: BucketFolder, prefix: str, after: str, listeners: Listeners, *, follow: bool = False
) -> Iterator[ObjectMeta]:
    """Yield objects whose key starts with `prefix` and sorts after `after`. Memory: the names of one directory per level.

    `unreadable` gets the paths of files and folders whose name cannot be a key, and of folders without read permission; the rest
    is still listed. `special` gets everything that is neither a file nor a folder. With `follow`, links to files of the bucket
    are objects. Code points sort as UTF-8 does.
    """
    root = bucket.root()
    folder = os.path.realpath(bucket.folder) if follow else ""
    yield from _Walk(root, prefix, after, listeners, folder).below([])
    if bucket.root() != root:  # objects absent here may be in the folder that replaced it
        raise StoreUnavailable("the folder was replaced while it was listed", where=str(bucket.folder))


@dataclass(frozen=True, slots=True)
class _Walk:
    root: int
    prefix: str
    after: str
    listeners: Listeners
    folder: str  # of the bucket, for links that are followed; "" = none is

    def below(self, names: list[str]) -> Iterator[ObjectMeta]:
        for is_folder, group in groupby(self._entries(names), attrgetter("is_folder")):
            if is_folder:
                for entry in group:
                    yield from self.below([*names, entry.name])
            else:
                yield from self._files(names, group)

    def _files(self, names: list[str], entries: Iterator[_Entry]) -> Iterator[ObjectMeta]:
        try:
            with parent(self.root, [*names, ""]) as folder:
                for entry in entries:
                    try:
                        stat = os.stat(entry.name, dir_fd=folder, follow_symlinks=False)
                    except FileNotFoundError:
                        continue
                    found = stat if S_ISREG(stat.st_mode) else self._followed([*names, entry.name])
                    if found is not None:
                        yield summary(entry.key, found)
        except (FileNotFoundError, NotADirectoryError):  # gone since
            return

    def _entries(self, names: list[str]) -> list[_Entry]:
        """Return the entries of one directory that the listing needs, in the order of their keys."""
        found = []
        try:
            with (
                parent(self.root, [*names, ""]) as here,
                opened(
                    ".", DIRECTORY, here
                ) as folder,  # a separate one, because two scans of one descriptor share their position
                os.scandir(folder) as entries,
            ):
                for each in entries:
                    is_folder = each.is_dir(follow_symlinks=False)
                    if not is_private(each.name):
                        path = "/".join([*names, each.name])
                        is_file = each.is_file(follow_symlinks=False)
                        if not (is_folder or is_file or self._followed([*names, each.name])):
                            self._special(path, each)
                            continue
                        try:
                            key = key_of(f"{path}/_")[:-1] if is_folder else key_of(path)
                        except InvalidKey:
                            self._tell(path)
                            continue
                        entry = _Entry(key, each.name, is_folder)
                        if self._wanted(entry):
                            found.append(entry)
        except (FileNotFoundError, NotADirectoryError):  # gone since; the bucket itself is looked at in the end
            pass
        except PermissionError:
            if not names:
                raise
            self._tell("/".join(names))
        return sorted(found, key=attrgetter("key"))

    def _followed(self, names: list[str]) -> os.stat_result | None:
        """Return the status of a link's target; None if it is not a file or the store does not follow links."""
        return file_behind(self.root, names, self.folder) if self.folder else None

    def _tell(self, path: str) -> None:
        self.listeners.unreadable(_shown(path))

    def _special(self, path: str, entry: os.DirEntry[str]) -> None:
        """Report a special file if its path is within the listing's range."""
        with suppress(FileNotFoundError):
            kind = special_kind(entry.stat(follow_symlinks=False).st_mode)
            if kind and path.startswith(self.prefix) and path > self.after:
                self.listeners.special(_shown(path), kind)

    def _wanted(self, entry: _Entry) -> bool:
        key = entry.key
        if entry.is_folder:
            inside = key.startswith(self.prefix) or self.prefix.startswith(key)
            return inside and (key > self.after or self.after.startswith(key))
        return key.startswith(self.prefix) and key > self.after


def _shown(path: str) -> str:
    return path.encode(errors="backslashreplace").decode()
