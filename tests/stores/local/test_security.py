"""No key, link or race leads the local store out of its folder."""

from __future__ import annotations

import os
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from skyferry.errors import InvalidKey, ObjectNotFound, SkyferryError
from skyferry.model import Attributes, Checksums
from skyferry.ports import ANY, Precondition
from skyferry.stores.local.store import LocalStore

SECRET = b"outside"
EVIL = ("../secret", "../outside/secret", "a/../../secret", "/etc/passwd", "..", "a/..", "./../secret", "//etc/passwd")


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder beside the bucket, with a secret in it."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "secret").write_bytes(SECRET)
    return folder


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[LocalStore]:
    """On a new folder."""
    (tmp_path / "bucket").mkdir()
    store = LocalStore("s", tmp_path / "bucket")
    yield store
    await store.close()


async def put(store: LocalStore, key: str, when: Precondition = ANY) -> None:
    """Write something."""
    await store.write(key, b"ours", Attributes(), Checksums(), when)


@pytest.mark.parametrize("key", EVIL)
async def test_a_key_that_looks_like_a_path_out_stays_inside(
    store: LocalStore, outside: Path, tmp_path: Path, key: str
) -> None:
    """It is an object in the bucket like any other."""
    before = sorted(p for p in tmp_path.rglob("*") if not p.is_relative_to(tmp_path / "bucket"))
    await put(store, key)
    assert (await store.read(key, 0, 9)).data == b"ours"
    assert [meta.key async for meta in store.list()] == [key]
    assert sorted(p for p in tmp_path.rglob("*") if not p.is_relative_to(tmp_path / "bucket")) == before
    assert (outside / "secret").read_bytes() == SECRET


@pytest.mark.parametrize("relative", [False, True])
async def test_a_linked_folder_is_no_folder(store: LocalStore, outside: Path, tmp_path: Path, relative: bool) -> None:
    """Nothing is read, listed, written or deleted through it, wherever it leads."""
    (tmp_path / "bucket" / "inside").mkdir()
    for name, target in (("d", outside), ("e", tmp_path / "bucket" / "inside")):
        (tmp_path / "bucket" / name).symlink_to(os.path.relpath(target, tmp_path / "bucket") if relative else target)
    (tmp_path / "bucket" / "inside" / "secret").write_bytes(b"inside")
    for key in ("d/secret", "e/secret"):
        with pytest.raises(InvalidKey, match="link"):
            await store.head(key)
        with pytest.raises(ObjectNotFound):
            await store.read(key, 0, 9)
        for when in (ANY, Precondition(create_only=True)):
            with pytest.raises(InvalidKey, match="links are not followed"):
                await put(store, key, when)
        await store.delete(key)
    assert (outside / "secret").read_bytes() == SECRET
    assert [meta.key async for meta in store.list()] == ["inside/secret"]


async def test_a_linked_file_is_no_object(store: LocalStore, outside: Path, tmp_path: Path) -> None:
    """It is not read, and a write neither follows nor replaces it."""
    link = tmp_path / "bucket" / "k"
    link.symlink_to(outside / "secret")
    (tmp_path / "bucket" / "dangling").symlink_to(outside / "made")
    for key in ("k", "dangling"):
        with pytest.raises(ObjectNotFound):
            await store.read(key, 0, 9)
        with pytest.raises(InvalidKey, match="link"):
            await store.head(key)
        for when in (ANY, Precondition(create_only=True)):
            with pytest.raises(InvalidKey, match="link"):
                await put(store, key, when)
        await store.delete(key)
    assert link.is_symlink()
    assert sorted(os.listdir(outside)) == ["secret"]
    assert [meta.key async for meta in store.list()] == []


@pytest.mark.parametrize("name", [".skyferry", ".skyferry/tmp", ".skyferry/locks"])
async def test_the_private_folder_must_not_be_a_link(
    store: LocalStore, outside: Path, tmp_path: Path, name: str
) -> None:
    """Who can write into the bucket cannot make us write elsewhere."""
    (tmp_path / "bucket" / name).parent.mkdir(exist_ok=True)
    (tmp_path / "bucket" / name).symlink_to(outside)
    with pytest.raises(SkyferryError):
        await put(store, "k")
    assert sorted(os.listdir(outside)) == ["secret"]


async def test_devices_and_pipes_are_no_objects(store: LocalStore, tmp_path: Path) -> None:
    """Reading one neither hangs nor gives anything."""
    os.mkfifo(tmp_path / "bucket" / "pipe")
    with pytest.raises(ObjectNotFound):
        await store.read("pipe", 0, 9)
    with pytest.raises(InvalidKey, match="device"):
        await store.head("pipe")
    assert [meta.key async for meta in store.list()] == []


async def test_private_files_are_no_objects(store: LocalStore, tmp_path: Path) -> None:
    """Our own folder is reached by no key and not listed, nor is that of a bucket inside this one."""
    await put(store, "k")
    (tmp_path / "bucket" / "inner" / ".skyferry").mkdir(parents=True)
    (tmp_path / "bucket" / "inner" / ".skyferry" / "x").write_bytes(b"x")
    for key in (".skyferry/locks/00", ".skyferry", "inner/.skyferry/x"):
        with pytest.raises(ObjectNotFound):
            await store.head(key)
    assert [meta.key async for meta in store.list()] == ["k"]


@contextmanager
def swapping(folder: Path, outside: Path) -> Iterator[None]:
    """While the block runs, the folder is a link to the outside every other moment."""
    stop, aside, link = threading.Event(), folder.with_name("aside"), folder.with_name("link")

    def swap() -> None:
        while not stop.is_set():
            with suppress(OSError):
                link.symlink_to(outside)
                folder.rename(aside)
                link.rename(folder)
                folder.unlink()
                aside.rename(folder)

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


async def test_a_folder_replaced_by_a_link_meanwhile_leads_nowhere(
    store: LocalStore, outside: Path, tmp_path: Path
) -> None:
    """However the race ends, nothing outside is read, changed or added."""
    folder = tmp_path / "bucket" / "d"
    folder.mkdir()
    with swapping(folder, outside):
        for n in range(150):
            with suppress(SkyferryError):
                await put(store, f"d/{n}")
            with suppress(SkyferryError):
                assert (await store.read("d/secret", 0, 9)).data != SECRET
            with suppress(SkyferryError):
                await store.delete("d/secret")
            with suppress(SkyferryError):
                assert "d/secret" not in [meta.key async for meta in store.list("d/")]
    assert sorted(os.listdir(outside)) == ["secret"]
    assert (outside / "secret").read_bytes() == SECRET
