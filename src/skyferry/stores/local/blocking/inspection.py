"""The inspection of a folder. Blocking: runs in the store's threads."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

from skyferry.ports.inspection import DELETE, LIST, READ, WRITE, BucketFacts, Unknown
from skyferry.stores.local.names import PRIVATE

FOLDER = Unknown("it is a folder")
UNFLUSHED = ", and fsync is off: a power cut may lose copies that the ledger has as done"
CASELESS = ", and it ignores case: keys that differ in case alone replace each other"


def inspect(folder: Path, durable: bool = True) -> BucketFacts:
    """See `InspectableStore`. Raises OSError."""
    filesystem = os.statvfs(folder)
    free = filesystem.f_bavail * filesystem.f_frsize
    notes = f"{CASELESS if _ignores_case(folder) else ''}{'' if durable else UNFLUSHED}"
    rights = {
        READ: os.access(folder, os.R_OK | os.X_OK),
        LIST: os.access(folder, os.R_OK | os.X_OK),
        WRITE: os.access(folder, os.W_OK | os.X_OK),
        DELETE: os.access(folder, os.W_OK | os.X_OK),
    }
    return BucketFacts(
        endpoint=f"{folder.absolute()}, {free / 2**30:.1f} GiB free{notes}",
        who=_who(),
        region=FOLDER,
        versioning="off",
        encryption=FOLDER,
        notices=FOLDER,
        skew=0.0,
        allowed=frozenset(right for right, given in rights.items() if given),
    )


def _ignores_case(folder: Path) -> bool:
    """Return True if the private folder is found in upper case too. Nothing is written to find out."""
    try:
        return os.path.samefile(folder / PRIVATE, folder / PRIVATE.upper())
    except OSError:
        return False


def _who() -> str:
    uid = os.geteuid()
    try:
        return f"{pwd.getpwuid(uid).pw_name} (uid {uid})"
    except KeyError:
        return f"uid {uid}"
