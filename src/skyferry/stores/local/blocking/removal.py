"""Remove the private folder of a local bucket once it is unused. Blocking."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path

from skyferry.stores.local.blocking.bucket import LOCKS
from skyferry.stores.local.names import PRIVATE


def remove_private_folder(folder: Path) -> bool:
    """Remove `.skyferry` from a folder unless it has content or is in use. Return True if it is gone.

    Its content is the marker of a service, unfinished uploads, or metadata that extended attributes cannot store. Each process
    that uses the folder has a shared lock on it (`BucketFolder`). One that opens it during the removal creates it again.
    """
    private = folder / PRIVATE
    try:
        held = os.open(private, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return not private.exists()
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        names = os.listdir(held)
        if any(name != LOCKS and os.listdir(private / name) for name in names if (private / name).is_dir()):
            return False
        if not all((private / name).is_dir() for name in names):
            return False
        for name in names:
            for lock in os.listdir(private / name):
                os.unlink(private / name / lock)
            os.rmdir(private / name)
        os.rmdir(private)
    except OSError:  # in use, changed meanwhile, or not ours to remove: it stays
        return False
    finally:
        with suppress(OSError):
            os.close(held)
    return True
