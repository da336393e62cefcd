"""The filesystem that a file is on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from skyferry.regex import compile_lazily

MOUNTS = Path("/proc/self/mountinfo")  # https://man7.org/linux/man-pages/man5/proc_pid_mountinfo.5.html
# Filesystems of other machines, whose locks and shared memory SQLite cannot rely on: https://www.sqlite.org/wal.html
NETWORK = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "lustre", "beegfs", "gpfs", "ncpfs"}
    | {"fuse.sshfs", "fuse.glusterfs", "fuse.ceph", "fuse.s3fs", "fuse.gcsfuse", "fuse.blobfuse", "fuse.rclone"}
)
_ESCAPED = compile_lazily(rb"\\([0-7]{3})")


def find_network_filesystem(path: Path, mounts: Path = MOUNTS) -> str:
    """Return the type of the network filesystem that a file is on or would be; "" = it is on none, or not known."""
    real = os.fsencode(os.path.realpath(path))
    found: tuple[int, str] = (-1, "")
    for point, kind in _list_mounts(mounts):
        if real == point or real.startswith(point + b"/"):
            found = max(found, (len(point), kind), key=lambda each: each[0])
    return found[1] if found[1] in NETWORK else ""


def find_second_name(path: Path, mounts: Path = MOUNTS) -> str:
    """Return how a file got a second name; "" = it has only one. SQLite keeps another log and other locks for each name.

    A symbolic link is not a second name, because SQLite follows it first, nor is a path through a folder that is mounted twice.
    """
    real = os.path.realpath(path)
    if not os.path.isfile(real):
        return ""
    if (names := os.stat(real).st_nlink) > 1:
        return f"has {names} names (hard links)"
    points = (point for point, _ in _list_mounts(mounts))
    return "is mounted without its folder" if os.fsencode(real) in points else ""


def _list_mounts(mounts: Path) -> Iterator[tuple[bytes, str]]:
    """Yield the mount points and their types of filesystem; none where the system does not list them (not Linux)."""
    try:
        lines = mounts.read_bytes().splitlines()
    except OSError:
        return
    for line in lines:
        fields, _, rest = line.partition(b" - ")
        point = _ESCAPED.sub(lambda match: bytes([int(match[1], 8)]), fields.split(b" ")[4]).rstrip(b"/")
        yield point, os.fsdecode(rest.split(b" ")[0])


def is_writable(path: Path) -> bool:
    """Return whether this user may write a file, or create it."""
    if path.exists():
        return os.access(path, os.W_OK) and os.access(path.parent, os.W_OK | os.X_OK)
    above = next((folder for folder in path.absolute().parents if folder.exists()), path)
    return above.is_dir() and os.access(above, os.W_OK | os.X_OK)
