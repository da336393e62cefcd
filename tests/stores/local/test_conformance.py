"""The local store keeps the contract."""

from __future__ import annotations

import errno
import os
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, NoReturn

import pytest

from skyferry.stores.local.store import LocalStore
from skyferry.testing.store import Place, StoreConformance

BELOW = "scratch area/1/"
TOO_LONG = {
    "y" * 1024: "a file name has 255 bytes at most",
    "y" * (1024 - len(BELOW)): "the same",
    "%" * 256: "the same",
    "%" * 255: "it is escaped by one more",
}


@pytest.fixture
async def local_place(tmp_path: Path) -> AsyncIterator[Place]:
    """Two clients of a new folder."""
    folder = tmp_path / "bucket"
    folder.mkdir()
    one, two = LocalStore("one", folder), LocalStore("two", folder)
    nowhere = LocalStore("nowhere", tmp_path / "absent")
    yield Place(one, "", two, nowhere, cannot_hold=TOO_LONG)
    for store in (one, two, nowhere):
        await store.close()


class TestLocalStore(StoreConformance):
    """The contract."""

    deviations: ClassVar[Mapping[str, str]] = {
        "test_a_key_and_one_below_it": "on a filesystem a file cannot be a folder too"
    }

    @pytest.fixture
    def place(self, local_place: Place) -> Place:
        """A folder."""
        return local_place


def unsupported(*args: object, **kwargs: object) -> NoReturn:
    """What a filesystem says that lacks something."""
    raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))


class TestLocalStoreWithoutExtendedAttributes(TestLocalStore):
    """The same on a filesystem that has none: metadata lie beside the files."""

    @pytest.fixture
    def place(self, local_place: Place, monkeypatch: pytest.MonkeyPatch) -> Place:
        monkeypatch.setattr(os, "setxattr", unsupported)
        monkeypatch.setattr(os, "getxattr", unsupported)
        return local_place


class TestLocalStoreWithoutHardLinks(TestLocalStore):
    """The same on a filesystem that has none: `create_only` trusts the lock alone."""

    @pytest.fixture
    def place(self, local_place: Place, monkeypatch: pytest.MonkeyPatch) -> Place:
        monkeypatch.setattr(os, "link", unsupported)
        return local_place


class TestLocalStoreBelowAPrefix(TestLocalStore):
    """The same, where only a part of the folder is ours."""

    @pytest.fixture
    def place(self, local_place: Place) -> Place:
        return replace(local_place, prefix=BELOW)


class TestLocalStoreWithoutFlushes(TestLocalStore):
    """The same, where nothing waits for the disk."""

    @pytest.fixture
    async def place(self, tmp_path: Path) -> AsyncIterator[Place]:
        folder = tmp_path / "unflushed"
        folder.mkdir()
        one, two = LocalStore("one", folder, durable=False), LocalStore("two", folder, durable=False)
        nowhere = LocalStore("nowhere", tmp_path / "absent", durable=False)
        yield Place(one, "", two, nowhere, cannot_hold=TOO_LONG)
        for store in (one, two, nowhere):
            await store.close()
