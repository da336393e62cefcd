"""Lists a bucket in the order of the keys, a directory at a time. Blocking: runs in the store's threads."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from stat import S_ISREG

from skyferry.errors import InvalidKey, StoreUnavailable
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
    """What hears of the things that a listing leaves out."""

    unreadable: Callable[[str], None]  # paths
    special: Callable[[str, str], None]  # paths, and their kind: symlink, fifo, socket or device; it may raise


def walk(
    bucket: BucketFolder, prefix: str, after: str, listeners: Listeners, *, follow: bool = False
) -> Iterator[ObjectMeta]:
    """Objects whose key starts with `prefix` and sorts after `after`. Memory: the names of one directory per level.

    `unreadable` hears the paths of files and folders whose name cannot be a key, and of folders that we may not read: they
    hide nothing else. `special` hears of what is neither a file nor a folder, but for links to files of the bucket where the
    store is to `follow` them: those are objects. Code points sort as UTF-8 does.
    """
    root = bucket.root()
    folder = os.path.realpath(bucket.folder) if follow else ""
    yield from _Walk(root, prefix, after, listeners, folder).below([])
    if bucket.root() != root:  # what was not found in it may still be in the one that took its place
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
        """What is wanted of one directory, in the order of the keys."""
        found = []
        try:
            with (
                parent(self.root, [*names, ""]) as here,
                opened(".", DIRECTORY, here) as folder,  # of its own, as two scans of one would share where they are
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
        """The file that a link leads to; None where it is none, or the store does not follow."""
        return file_behind(self.root, names, self.folder) if self.folder else None

    def _tell(self, path: str) -> None:
        self.listeners.unreadable(_shown(path))

    def _special(self, path: str, entry: os.DirEntry[str]) -> None:
        """Report what is no object, where the listing would show it if it were one."""
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
