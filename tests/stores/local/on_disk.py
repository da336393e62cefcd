"""What the tests of the local store share."""

from __future__ import annotations

import os
from pathlib import Path

from skyferry.model import ObjectMeta
from skyferry.ports import ANY, Precondition
from skyferry.stores.local.store import LocalStore
from skyferry.testing.store_cases.place import EVERYTHING, compute_digests


async def put(store: LocalStore, key: str, data: bytes = b"data", when: Precondition = ANY) -> ObjectMeta:
    """Write, with all attributes."""
    return await store.write(key, data, EVERYTHING, compute_digests(data), when)


def temporary(folder: Path) -> list[str]:
    """What is being written."""
    return os.listdir(folder / ".skyferry" / "tmp")
