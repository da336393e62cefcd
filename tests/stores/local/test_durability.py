"""Writes are on the disk when a call returns, unless `fsync` is off: then nothing is flushed."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.stores.local.test_conformance import unsupported

from skyferry.config.settings import Settings
from skyferry.model import Attributes
from skyferry.ports import ObjectStore, Precondition
from skyferry.ports.inspection import InspectableStore
from skyferry.stores.local.blocking.files import ParentFolder
from skyferry.testing.clock import ManualClock
from skyferry.testing.store_cases.place import compute_digests
from skyferry.wiring.opener import Opener

DATA = b"data"


@pytest.fixture
def flushed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths that were flushed, in order."""
    seen: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda file: seen.append(os.readlink(f"/proc/self/fd/{file}")))
    return seen


def open_store(folder: Path, fsync: bool) -> ObjectStore:
    """The store of a configuration."""
    stores = {"s": {"url": f"file://{folder}", "fsync": fsync}}
    return Opener(Settings.model_validate({"workspace": folder.parent, "stores": stores}), ManualClock()).store("s")


@pytest.fixture
async def store(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[ObjectStore]:
    folder = tmp_path / "bucket"
    folder.mkdir()
    made = open_store(folder, request.param)
    yield made
    await made.close()


async def change_everything(store: ObjectStore) -> None:
    """Each kind of call that changes a folder."""
    attributes, checksums = Attributes(metadata={"a": "b"}), compute_digests(DATA)
    made = await store.write("a/b", DATA, attributes, checksums, Precondition(create_only=True))
    made = await store.write("a/b", DATA * 2, attributes, compute_digests(DATA * 2), Precondition(replace=made.version))
    upload = await store.start_upload("c", len(DATA), len(DATA), attributes)
    part = await store.write_part(upload, 1, DATA, checksums.crc32c)
    await store.finish_upload(upload, [part], checksums)
    await store.make_folder("d/")
    await store.delete("a/b", Precondition(replace=made.version))


durable = pytest.mark.parametrize("store", [True], indirect=True)
not_durable = pytest.mark.parametrize("store", [False], indirect=True)


@durable
@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="the paths of open files are needed")
async def test_file_and_folders_are_flushed(store: ObjectStore, flushed: list[str], tmp_path: Path) -> None:
    """The file before it has its name, each new folder, and the folder that has the name."""
    folder = tmp_path / "bucket"
    await store.write("a/b", DATA, Attributes(), compute_digests(DATA), Precondition(create_only=True))

    of_the_write = [path for path in flushed if ".skyferry/" in path or ".skyferry" not in path]
    file = next(n for n, path in enumerate(of_the_write) if "/.skyferry/tmp/w-" in path)
    assert of_the_write[file + 1 :] == [str(folder), str(folder / "a")]


@durable
@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="the paths of open files are needed")
async def test_each_change_is_flushed(store: ObjectStore, flushed: list[str]) -> None:
    await change_everything(store)
    assert len(flushed) >= 9


@not_durable
@pytest.mark.parametrize("attributes", [True, False])
async def test_nothing_is_flushed_if_fsync_is_off(
    store: ObjectStore, flushed: list[str], attributes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same where metadata is in files, because there are no extended attributes."""
    if not attributes:
        monkeypatch.setattr(os, "setxattr", unsupported)
        monkeypatch.setattr(os, "getxattr", unsupported)
    await change_everything(store)
    assert (await store.read("c", 0, 10)).data == DATA
    assert flushed == []


@pytest.mark.parametrize(("store", "warned"), [(True, False), (False, True)], indirect=["store"])
async def test_an_inspection_says_what_may_be_lost(store: ObjectStore, warned: bool) -> None:
    assert isinstance(store, InspectableStore)
    assert ("fsync is off" in (await store.inspect()).endpoint) == warned


def test_new_folders_are_flushed_by_default(tmp_path: Path, flushed: list[str]) -> None:
    root = os.open(tmp_path, os.O_RDONLY)
    try:
        with ParentFolder(root, ["a", "b", "c"], create=[0o700, 0o700]):
            assert len(flushed) == 2
    finally:
        os.close(root)
