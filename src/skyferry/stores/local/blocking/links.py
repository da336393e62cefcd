"""Symbolic links to files of the same bucket, where a store follows them. Blocking: runs in the store's threads.

The system never follows a link. The link is read, its target is joined to its folder, and the resulting names are opened one by
one below the bucket's descriptor; none of them may be a link. So no path leads out of the folder, even if another program changes
a link meanwhile; at worst, a race makes the object absent.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from stat import S_ISREG

from skyferry.stores.local.blocking.files import ParentFolder
from skyferry.stores.local.names import is_private

HOPS = 8  # links to links


def target(root: int, names: Sequence[str], folder: str) -> list[str] | None:
    """Return the names below `root` of what a link leads to; None where it leads out, nowhere, in a ring, or to what is private.

    `names` are those of the link, `folder` is the absolute path of `root`, for links that are absolute. What is behind a folder
    that is itself a link is not followed.
    """
    here: list[str] | None = list(names)
    for hop in range(HOPS + 1):
        if not here or any(map(is_private, here)):
            return None
        try:
            with ParentFolder(root, here) as above:
                text = os.readlink(here[-1], dir_fd=above)
        except OSError:  # no link any more: the target, or nothing at all
            return here if hop else None
        here = joined(here[:-1], text, folder)
    return None


def file_behind(root: int, names: Sequence[str], folder: str) -> os.stat_result | None:
    """Return the file that a link leads to; None where `target` finds none, or what it finds is no file."""
    if (found := target(root, names, folder)) is None:
        return None
    try:
        with ParentFolder(root, found) as above:
            stat = os.stat(found[-1], dir_fd=above, follow_symlinks=False)
    except OSError:
        return None
    return stat if S_ISREG(stat.st_mode) else None


def is_followed(folder: Path, path: str) -> bool:
    """Return True if the link at this path below the folder leads to a file of it. Raises OSError if the folder is gone."""
    root = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return file_behind(root, path.split("/"), os.path.realpath(folder)) is not None
    finally:
        os.close(root)


def joined(base: Sequence[str], text: str, folder: str) -> list[str] | None:
    """Return the names of a link's text below the folder, seen from `base`; None if it leads out."""
    names = list(base)
    if text.startswith("/"):
        if not text.startswith(f"{folder}/"):
            return None
        names, text = [], text.removeprefix(f"{folder}/")
    for part in text.split("/"):
        if part == "..":
            if not names:
                return None
            names.pop()
        elif part not in ("", "."):
            names.append(part)
    return names
