"""The identity of a folder: its marker, device, inode and the mounts below it. Blocking: runs in a thread.

The marker is a random name in `.skyferry/identity`. It survives a reboot, which may renumber devices, and is copied with the
folder. An empty mount point and a new folder have no marker. If no marker can be written, device and inode are compared.
"""

from __future__ import annotations

import errno
import json
import os
import uuid
from contextlib import suppress
from pathlib import Path

from skyferry.discovery.folder.inspector import OWN
from skyferry.frozen import dataclass
from skyferry.regex import compile_lazily

MOUNTS = "/proc/self/mountinfo"
MOST = 1000  # mounts in an identity
ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EACCES, errno.EPERM, errno.ENXIO)  # missing or no access
NAME = "identity"  # of the marker's file, in OWN
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_LENGTH = 32
_ESCAPED = compile_lazily(rb"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Identity:
    """The identity of a folder."""

    marker: str  # "" = there is none
    device: int
    inode: int
    mounts: tuple[str, ...] = ()  # paths in the folder

    def __str__(self) -> str:
        return f"{self.marker} {self.device} {self.inode} {json.dumps(self.mounts)}"

    @classmethod
    def parse(cls, text: str) -> Identity:
        """Parse the output of `str`. Raises ValueError."""
        marker, device, inode, *mounts = text.split(" ", 3)
        return cls(marker, int(device), int(inode), tuple(json.loads(mounts[0])) if mounts else ())

    @property
    def place(self) -> tuple[int, int]:
        """The device and inode: unique among the folders that exist at one time."""
        return self.device, self.inode

    def is_same(self, other: Identity) -> bool:
        """Return True if both are the same folder. Inodes are reused, so they count only if there was no marker."""
        return self.marker == other.marker if self.marker else self.place == other.place


def read_identity(folder: Path) -> Identity | None:
    """Return the folder's identity, or None if it is not a readable folder. Raises OSError for other failures."""
    return _open(folder, write=False)


def mark_folder(folder: Path) -> Identity | None:
    """Like `read_identity`, but write a missing marker if possible."""
    return _open(folder, write=True)


def _open(folder: Path, *, write: bool) -> Identity | None:
    try:
        root = os.open(folder, _FOLDER)
    except OSError as error:
        if error.errno not in ABSENT:
            raise
        return None
    try:
        info = os.fstat(root)
        marker = read_marker(root)
        if write and not marker:
            with suppress(OSError):  # the folder may be read-only
                _write(root)
            marker = read_marker(root)
        return Identity(marker, info.st_dev, info.st_ino, _mounts(folder))
    finally:
        os.close(root)


def _mounts(folder: Path) -> tuple[str, ...]:
    """List the mounts below a folder. Format: https://man7.org/linux/man-pages/man5/proc_pid_mountinfo.5.html"""
    above = os.fsencode(os.path.realpath(folder)).rstrip(b"/") + b"/"
    try:
        lines = Path(MOUNTS).read_bytes().splitlines()
    except OSError:  # not Linux
        return ()
    points = {_ESCAPED.sub(lambda found: bytes([int(found[1], 8)]), line.split(b" ")[4]) for line in lines}
    found = sorted(os.fsdecode(point[len(above) :]) for point in points if point.startswith(above))
    return tuple(found[:MOST])


def read_marker(root: int) -> str:
    """Return the marker of an open folder, or "" if it has none. Raises OSError if it cannot be read."""
    try:
        own = os.open(OWN, _FOLDER | os.O_NOFOLLOW, dir_fd=root)
    except OSError as error:
        if error.errno not in ABSENT:
            raise
        return ""
    try:
        file = os.open(NAME, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=own)
    except OSError as error:
        if error.errno not in ABSENT:
            raise
        return ""
    finally:
        os.close(own)
    try:
        text = os.read(file, _LENGTH + 1).decode("ascii", "replace").strip()
    finally:
        os.close(file)
    return text if len(text) == _LENGTH and text.isalnum() else ""


def _write(root: int) -> None:
    """Write the marker atomically. If several processes write at once, the first marker stays."""
    with suppress(FileExistsError):
        os.mkdir(OWN, 0o700, dir_fd=root)
    own = os.open(OWN, _FOLDER | os.O_NOFOLLOW, dir_fd=root)
    try:
        name = f"{NAME}.{uuid.uuid4().hex}"
        file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=own)
        try:
            os.write(file, f"{uuid.uuid4().hex}\n".encode())
            os.fsync(file)
        finally:
            os.close(file)
        try:
            with suppress(FileExistsError):
                os.link(name, NAME, src_dir_fd=own, dst_dir_fd=own, follow_symlinks=False)
        finally:
            os.unlink(name, dir_fd=own)
        os.fsync(own)
    finally:
        os.close(own)
