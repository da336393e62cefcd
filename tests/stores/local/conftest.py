"""A folder that is a bucket."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from skyferry.stores.local.store import LocalStore


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The bucket."""
    folder = tmp_path / "bucket"
    folder.mkdir()
    return folder


@pytest.fixture
async def store(folder: Path) -> AsyncIterator[LocalStore]:
    """On the bucket."""
    store = LocalStore("s", folder)
    yield store
    await store.close()
