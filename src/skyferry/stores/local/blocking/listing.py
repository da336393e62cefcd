"""The listing of a bucket in the order of its keys, a directory at a time. Blocking: runs in the store's threads."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from heapq import merge
from itertools import chain, groupby
from stat import S_ISREG

from skyferry.errors import InvalidKey, SkyferryError, StoreUnavailable
from skyferry.frozen import dataclass
from skyferry.model import ObjectMeta
from skyferry.stores.local.blocking.bucket import BucketFolder
from skyferry.stores.local.blocking.files import DIRECTORY, ParentFolder, opened, special_kind
from skyferry.stores.local.blocking.links import file_behind
from skyferry.stores.local.errors import translate
from skyferry.stores.local.metadata import list_file
from skyferry.stores.local.names import LONGEST_KEY, is_private, key_of, names_of

MARKS = "%."  # an entry that begins otherwise has its name in the key
RUN = 2**15  # names of one directory that are sorted together: 2 MB of them
JOINED = 256  # names in one text


@dataclass(frozen=True, slots=True)
class Listeners:
    """Callbacks for paths that a listing leaves out."""

    unreadable: Callable[[str, SkyferryError], None]  # paths, and why
    special: Callable[[str, str], None]  # paths, and their kind: symlink, fifo, socket or device; it may raise


def walk(
    bucket: BucketFolder, prefix: str, after: str, listeners: Listeners, *, follow: bool = False
) -> Iterator[ObjectMeta]:
    """Yield objects whose key starts with `prefix` and sorts after `after`. Memory: the names of one directory per level,
    about a byte per character.

    `unreadable` gets the paths of files and folders whose name cannot be a key, and of folders without read permission; the rest
    is still listed. `special` gets everything that is neither a file nor a folder. With `follow`, links to files of the bucket
    are objects. Code points sort as UTF-8 does.
    """
    return chain.from_iterable(_find_runs(bucket, prefix, after, listeners, follow))


def _find_runs(
    bucket: BucketFolder, prefix: str, after: str, listeners: Listeners, follow: bool
) -> Iterator[Iterator[ObjectMeta]]:
    """Yield runs of objects: an object of a run does not pass through the generators of all folders above it."""
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

    def below(self, names: list[str], start: str = "") -> Iterator[Iterator[ObjectMeta]]:
        """Yield runs of the objects of one directory. `start` is what all their keys begin with."""
        texts, only_files = self._find_texts(names, start)
        for is_folder, group in [(False, texts)] if only_files else groupby(texts, _is_folder):
            if is_folder:
                for text in group:
                    yield from self.below([*names, _find_name(start, text)], start + text)
            else:
                yield self._files(names, start, group)

    def _files(self, names: list[str], start: str, texts: Iterator[str]) -> Iterator[ObjectMeta]:
        stat = os.stat
        try:
            with ParentFolder(self.root, [*names, ""]) as folder:
                for text in texts:
                    name = text if text[:1] not in MARKS else _find_name(start, text)
                    try:
                        found: os.stat_result | None = stat(name, dir_fd=folder, follow_symlinks=False)
                    except FileNotFoundError:
                        continue
                    if found and not S_ISREG(found.st_mode):
                        found = self._followed([*names, name])
                    if found:
                        yield list_file(start + text, found)
        except (FileNotFoundError, NotADirectoryError):  # gone since
            return
        except PermissionError as error:  # its names may be read, but its files may not be looked at
            self._refuse(names, error)

    def _find_texts(self, names: list[str], start: str) -> tuple[Iterator[str], bool]:
        """Return the ends of the keys of one directory's entries that the listing needs, in order; of folders with their slash.

        The second value is True if none is a folder.
        """
        found, only_files = SortedTexts(), True
        unsorted = found.unsorted
        try:
            with (
                ParentFolder(self.root, [*names, ""]) as here,
                opened(
                    ".", DIRECTORY, here
                ) as folder,  # a separate one, because two scans of one descriptor share their position
                os.scandir(folder) as entries,
            ):
                whole = start.startswith(self.prefix) and (start > self.after or not self.after)
                room = LONGEST_KEY - len(start.encode())
                for entry in entries:
                    name = entry.name
                    if (
                        name.isascii()
                        and name[0] not in MARKS
                        and len(name) <= room
                        and entry.is_file(follow_symlinks=False)
                    ):
                        text: str | None = name
                    else:
                        text = self._find_text(names, start, entry)
                        only_files = only_files and not (text and _is_folder(text))
                    if text is not None and (whole or self._is_wanted(start, text)):
                        unsorted.append(text)
                        if len(unsorted) == RUN:
                            found.end_run()
        except (FileNotFoundError, NotADirectoryError):  # gone since; the bucket itself is looked at in the end
            pass
        except PermissionError as error:
            self._refuse(names, error)
            return iter(()), False  # so that it is not opened again
        return iter(found), only_files

    def _find_text(self, names: list[str], start: str, entry: os.DirEntry[str]) -> str | None:
        """Return the end of the key of a folder or file; None if it has no key, or is neither."""
        if is_private(entry.name):
            return None
        is_folder, path = entry.is_dir(follow_symlinks=False), "/".join([*names, entry.name])
        if not (is_folder or entry.is_file(follow_symlinks=False) or self._followed([*names, entry.name])):
            self._special(path, entry)
            return None
        try:
            key = key_of(f"{path}/_")[:-1] if is_folder else key_of(path)
        except InvalidKey as error:
            self._tell(path, InvalidKey(error.message, hint="rename the file or folder"))
            return None
        return key[len(start) :]

    def _followed(self, names: list[str]) -> os.stat_result | None:
        """Return the status of a link's target; None if it is not a file or the store does not follow links."""
        return file_behind(self.root, names, self.folder) if self.folder else None

    def _refuse(self, names: list[str], error: PermissionError) -> None:
        """Report a folder without permission. Raises the error for the bucket itself."""
        if not names:
            raise error
        path = "/".join(names)
        self._tell(path, translate(error, path))

    def _tell(self, path: str, error: SkyferryError) -> None:
        self.listeners.unreadable(_shown(path), error)

    def _special(self, path: str, entry: os.DirEntry[str]) -> None:
        """Report a special file if its path is within the listing's range."""
        with suppress(FileNotFoundError):
            kind = special_kind(entry.stat(follow_symlinks=False).st_mode)
            if kind and path.startswith(self.prefix) and path > self.after:
                self.listeners.special(_shown(path), kind)

    def _is_wanted(self, start: str, text: str) -> bool:
        key = start + text
        if _is_folder(text):
            inside = key.startswith(self.prefix) or self.prefix.startswith(key)
            return inside and (key > self.after or self.after.startswith(key))
        return key.startswith(self.prefix) and key > self.after


class SortedTexts:
    """Texts without NUL, in order. Many of them are joined in sorted runs, which takes a tenth of the memory."""

    def __init__(self) -> None:
        self.unsorted: list[str] = []  # takes the texts. `end_run` MUST follow as soon as they are a RUN
        self._runs: list[list[str]] = []

    def __iter__(self) -> Iterator[str]:
        if not self._runs:
            return iter(sorted(self.unsorted))
        self.end_run()
        return merge(*map(_split, self._runs))

    def end_run(self) -> None:
        """Sort the texts in `unsorted`, and empty it."""
        texts = sorted(self.unsorted)
        self._runs.append(["\0".join(texts[at : at + JOINED]) for at in range(0, len(texts), JOINED)])
        self.unsorted.clear()


def _split(run: list[str]) -> Iterator[str]:
    for joined in run:
        yield from joined.split("\0")


def _is_folder(text: str) -> bool:
    """Return True for the end of a folder's key. That of a file has no slash: the file of `a/` is `a/%`, and its end is empty."""
    return text.endswith("/")


def _find_name(start: str, text: str) -> str:
    """Return the name of a directory's entry, by the end of its key."""
    if _is_folder(text):
        return names_of(f"{start}{text}_")[-2]
    return names_of(start + text)[-1] if text[:1] in MARKS else text


def _shown(path: str) -> str:
    return path.encode(errors="backslashreplace").decode()
