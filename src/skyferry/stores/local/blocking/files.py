"""Files below one folder, opened without following symbolic links. Blocking: runs in the store's threads."""

from __future__ import annotations

import errno
import os
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache, reduce
from operator import and_
from pathlib import Path
from stat import S_IFIFO, S_IFLNK, S_IFMT, S_IFSOCK, S_ISDIR, S_ISREG

from skyferry import crcs
from skyferry.bodies import LARGE, BufferPool, as_bytes
from skyferry.errors import ObjectNotFound

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW
OBJECT = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO)  # nothing there, or nothing that could be an object
PERMISSIONS = 0o777  # never carried: the bits that let a program run as its owner or group
BY_UMASK = -1  # permissions that the umask of the process decides
CHUNK = 2**18  # bytes read back at a time: they stay in the processor's cache
PIECE = 2**16  # bytes written at a time. For more, Linux moves other memory to make room that is contiguous
_own = threading.local()
MADE = "user.skyferry"  # marks a folder that Skyferry made and may remove once it is empty


@contextmanager
def opened(name: str, flags: int, folder: int) -> Iterator[int]:
    """Open a file without following a link. A new file is accessible to its owner only."""
    file = os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=folder)
    try:
        yield file
    finally:
        os.close(file)


def descend(folder: int, name: str, create: int | None = None, durable: bool = True) -> int:
    """Open a folder in another. Raises FileNotFoundError, unless it is to be created with the permissions `create`.

    Its name is on the disk then, if it is to be `durable`.
    """
    try:
        return os.open(name, DIRECTORY, dir_fd=folder)
    except FileNotFoundError:
        if create is None:
            raise
    with suppress(FileExistsError):
        os.mkdir(name, 0o777 if create == BY_UMASK else create, dir_fd=folder)
        if durable:
            os.fsync(folder)
        made = os.open(name, DIRECTORY, dir_fd=folder)
        if create != BY_UMASK:  # the umask may have taken some
            os.fchmod(made, create)
        with suppress(OSError, AttributeError):  # no extended attributes here: the folder stays when it is empty
            os.setxattr(made, MADE, b"")
        return made
    return os.open(name, DIRECTORY, dir_fd=folder)


@cache
def umask() -> int:
    """Return the permissions that the process takes from new files."""
    with suppress(OSError):  # Linux; elsewhere it can only be read by setting it for a moment, for all threads
        found = re.search(r"^Umask:\s*([0-7]+)$", Path("/proc/self/status").read_text("ascii", "replace"), re.MULTILINE)
        if found is not None:
            return int(found[1], 8)
    os.umask(now := os.umask(0o077))
    return now


def folder_modes(known: Sequence[int], wanted: int) -> Sequence[int]:
    """Return the permissions of `wanted` new folders, of those that the folders at the source have.

    Where a key has other folders there than here, each gets what all of the source's have in common: it is never more open.
    """
    if not known:
        return [BY_UMASK] * wanted
    return [mode | 0o700 for mode in (known if len(known) == wanted else [reduce(and_, known)] * wanted)]


def close_to_others(folder: int) -> None:
    """Close a private folder to other users of the machine."""
    stat = os.fstat(folder)
    if stat.st_mode & 0o077 and stat.st_uid == os.geteuid():
        os.fchmod(folder, stat.st_mode & 0o700)


def open_parent(
    root: int,
    names: Sequence[str],
    create: Sequence[int] | None = None,
    passed: list[int] | None = None,
    durable: bool = True,
) -> int:
    """Open the folder that contains the last of `names`, and return its descriptor; that of the root stays the caller's.

    Raises FileNotFoundError, unless folders are to be created: with the permissions `create`, outermost first. Those of the
    folders on the way are added to `passed`. `durable`: see `descend`.
    """
    here = root
    try:
        for depth, name in enumerate(names[:-1]):
            below = descend(here, name, None if create is None else create[depth], durable)
            if here != root:
                os.close(here)
            here = below
            if passed is not None:
                passed.append(os.fstat(here).st_mode & PERMISSIONS)
    except BaseException:  # an interrupt too: the caller has no descriptor to close
        if here != root:
            os.close(here)
        raise
    return here


class ParentFolder:
    """The folder of `open_parent`, open inside a `with` block. A generator would take three times as long, twice per copy."""

    __slots__ = ("_arguments", "_here", "_root")

    def __init__(
        self, root: int, names: Sequence[str], create: Sequence[int] | None = None, durable: bool = True
    ) -> None:
        self._root, self._arguments = root, (names, create, None, durable)

    def __enter__(self) -> int:
        self._here = open_parent(self._root, *self._arguments)
        return self._here

    def __exit__(self, *_: object) -> None:
        if self._here != self._root:
            os.close(self._here)


def make_folder(root: int, names: Sequence[str], durable: bool) -> None:
    """Make the folder that contains the last of `names`. It stays when it is empty, like those of other programs."""
    with ParentFolder(root, names, create=[BY_UMASK] * (len(names) - 1), durable=durable) as folder:
        with suppress(OSError, AttributeError):  # it had no mark
            os.removexattr(folder, MADE)
        if durable:
            os.fsync(folder)


class ExistingFile:
    """The regular file of a key, open inside a `with` block: its descriptor, its status, and the permissions of the folders on
    its path and of the file.

    Entering raises ObjectNotFound: links, folders and devices are not objects.
    """

    __slots__ = ("_file", "_names", "_root", "_where")

    def __init__(self, root: int, names: Sequence[str], where: str) -> None:
        self._root, self._names, self._where = root, names, where

    def __enter__(self) -> tuple[int, os.stat_result, tuple[int, ...]]:
        root, names, passed = self._root, self._names, list[int]()
        try:
            folder = open_parent(root, names, passed=passed)
            try:
                file = self._file = os.open(names[-1], OBJECT, dir_fd=folder)
            finally:
                if folder != root:
                    os.close(folder)
        except OSError as error:
            if error.errno in ABSENT:
                raise ObjectNotFound(where=self._where) from error
            raise
        try:
            stat = os.fstat(file)
            if not S_ISREG(stat.st_mode):
                raise ObjectNotFound("there is no regular file", where=self._where)
        except BaseException:  # an interrupt too: `__exit__` is not called
            os.close(file)
            raise
        return file, stat, (*passed, stat.st_mode & PERMISSIONS)

    def __exit__(self, *_: object) -> None:
        os.close(self._file)


def special_kind(mode: int) -> str:
    """Return symlink, fifo, socket or device; "" for files and folders."""
    if S_ISREG(mode) or S_ISDIR(mode):
        return ""
    return {S_IFLNK: "symlink", S_IFIFO: "fifo", S_IFSOCK: "socket"}.get(S_IFMT(mode), "device")


def special(root: int, names: Sequence[str]) -> bool:
    """Return True if the file of a key, or one of its folders, is a link, pipe, socket or device."""
    for depth in range(1, len(names) + 1):
        try:
            mode = os.stat("/".join(names[:depth]), dir_fd=root, follow_symlinks=False).st_mode
        except (FileNotFoundError, NotADirectoryError):
            return False
        if not (S_ISREG(mode) or S_ISDIR(mode)):
            return True
    return False


def write_all(file: int, data: bytes, offset: int = 0) -> None:
    """Write every byte, from the offset on."""
    if len(data) <= CHUNK and os.pwrite(file, data, offset) == len(data):
        return
    view, done = memoryview(data), 0
    while done < len(data):
        done += os.pwrite(file, view[done : done + PIECE], offset + done)


def read_range(file: int, start: int, length: int, buffers: BufferPool) -> bytes:
    """Read `length` bytes, or fewer at the end of the file. Repeat short reads. A large range is a view of memory of `buffers`."""
    if length >= LARGE and hasattr(os, "preadv"):
        return _read_into(file, start, buffers.allocate(length))
    data = os.pread(file, length, start)
    if len(data) == length or not data:
        return data
    pieces = [data]
    missing = length - len(data)
    while missing and (more := os.pread(file, missing, start + length - missing)):
        pieces.append(more)
        missing -= len(more)
    return b"".join(pieces)


def _read_into(file: int, start: int, view: memoryview) -> bytes:
    done = 0
    while done < len(view) and (more := os.preadv(file, [view[done:]], start + done)):
        done += more
    return as_bytes(view[:done])


def crc_of(file: int, start: int, length: int) -> str:
    """Return the CRC32C of the file's bytes, read back from it, as 8 hexadecimal digits."""
    crc, at, end = 0, start, start + length
    while at < end and (piece := _read_back(file, min(CHUNK, end - at), at)):
        crc = crcs.crc32c(piece, crc)
        at += len(piece)
    return f"{crc:08x}"


def _read_back(file: int, length: int, start: int) -> bytes:
    """Read into memory of this thread, which the next call overwrites. Few bytes get memory of their own."""
    if length < CHUNK or not hasattr(os, "preadv"):
        return os.pread(file, length, start)
    if (view := getattr(_own, "view", None)) is None:
        view = _own.view = memoryview(bytearray(CHUNK))
    return as_bytes(view[: os.preadv(file, [view], start)])


def prune(root: int, names: Sequence[str]) -> None:
    """Remove the empty folders of a key that Skyferry made, innermost first.

    Folders of other programs stay, because those may write into them next.
    """
    for depth in range(len(names) - 1, 0, -1):
        try:
            with ParentFolder(root, names[:depth]) as above, opened(names[depth - 1], DIRECTORY, above) as folder:
                os.getxattr(folder, MADE)
                os.rmdir(names[depth - 1], dir_fd=above)
        except (OSError, AttributeError):  # made by another program, not empty, or gone already
            return
