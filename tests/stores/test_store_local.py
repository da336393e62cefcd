"""The local store keeps the contract."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from skyferry.stores.local import LocalStore
from skyferry.testing.store import Place, StoreConformance

TOO_LONG = dict.fromkeys(("y" * 1024, "%" * 256), "a file name has 255 bytes at most")


@pytest.fixture
async def local_place(tmp_path: Path) -> AsyncIterator[Place]:
    """Two clients of a new folder."""
    folder = tmp_path / "bucket"
    folder.mkdir()
    one, two = LocalStore("one", folder), LocalStore("two", folder)
    nowhere = LocalStore("nowhere", tmp_path / "absent")
    yield Place(one, "", two, nowhere, cannot_hold=TOO_LONG | {"%" * 255: "it is escaped by one more"})
    for store in (one, two, nowhere):
        await store.close()


class TestLocalStore(StoreConformance):
    """The contract."""

    deviations = {"test_a_key_and_one_below_it": "on a filesystem a file cannot be a folder too"}  # noqa: RUF012

    @pytest.fixture
    def place(self, local_place: Place) -> Place:
        """A folder."""
        return local_place
