"""What the local store makes of other people's files, and of a bucket that is not what it was."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.stores.local.on_disk import put, temporary

from skyferry.errors import (
    BucketNotFound,
    InvalidKey,
    ObjectNotFound,
    PermissionDenied,
    PreconditionFailed,
    SkyferryError,
    StoreUnavailable,
    VersionChanged,
)
from skyferry.model import Attributes, Checksums
from skyferry.ports import Precondition
from skyferry.stores.local.blocking import writing as local_write
from skyferry.stores.local.blocking.bucket import ExpectedFolder, identify
from skyferry.stores.local.store import LocalStore

OLD = local_write.ABANDONED + 60  # seconds


# --- other people's files ----------------------------------------------------------------------------------------------


async def test_a_file_written_by_another_program_is_an_object(store: LocalStore, folder: Path) -> None:
    """With size, version and position from the filesystem, and nothing else."""
    (folder / "d").mkdir()
    (folder / "d" / "k").write_bytes(b"theirs")
    info = (folder / "d" / "k").stat()
    meta = (await store.read("d/k", 0, 9)).meta
    assert meta.version == f"{info.st_ino:x}-{info.st_size:x}-{info.st_mtime_ns:x}"
    assert str(meta.position) == f"time:{info.st_ctime_ns:020d}"
    assert (meta.checksums, meta.attributes) == (Checksums(), Attributes())


@pytest.mark.parametrize("content", [b"else", b"something else"])
async def test_a_file_written_over_in_place_has_lost_its_metadata(
    store: LocalStore, folder: Path, content: bytes
) -> None:
    """They belonged to another content; the version is another too."""
    before = await put(store, "k")
    (folder / "k").write_bytes(content)
    os.utime(folder / "k", (1.0, 2.0))
    after = await store.head("k")
    assert after.version != before.version
    assert (after.checksums, after.attributes) == (Checksums(), Attributes())


@pytest.mark.parametrize("junk", [b"", b"{", b"[]", b'{"of":1}', b'{"of":[4,0],"attributes":{"no":1},"crc32c":""}'])
async def test_an_attribute_of_another_program_is_ignored(store: LocalStore, folder: Path, junk: bytes) -> None:
    """It may hold anything."""
    (folder / "k").write_bytes(b"data")
    os.utime(folder / "k", ns=(0, 0))
    os.setxattr(folder / "k", "user.skyferry", junk)
    assert (await store.head("k")).attributes == Attributes()


async def test_a_file_that_changes_while_it_is_read_is_noticed(
    store: LocalStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Longer, shorter or of the same size: VersionChanged."""
    read = os.pread
    for n, content in enumerate((b"longer than it was", b"", b"else")):
        (folder / "k").write_bytes(b"data")
        os.utime(folder / "k", (1, 1))

        def pread(file: int, size: int, at: int, content: bytes = content, n: int = n) -> bytes:
            (folder / "k").write_bytes(content)
            os.utime(folder / "k", (2, 2 + n))
            return read(file, size, at)

        monkeypatch.setattr(os, "pread", pread)
        with pytest.raises(VersionChanged):
            await store.read("k", 0, 100)


async def test_a_name_that_cannot_be_a_key_is_reported(folder: Path) -> None:
    """And what else is there is listed."""
    (folder / "d").mkdir()
    Path(os.fsdecode(os.fsencode(folder / "d") + b"/\xff\xfe")).write_bytes(b"x")
    (folder / "d" / "good").write_bytes(b"x")
    (folder / "d" / "%x").write_bytes(b"x")
    (folder / "%.").write_bytes(b"x")  # the key "."
    (folder / "%").write_bytes(b"x")  # is no escape: there is no empty key
    heard: list[tuple[str, SkyferryError]] = []
    store = LocalStore("s", folder, on_unreadable=lambda *found: heard.append(found))
    assert [meta.key async for meta in store.list()] == ["%", ".", "d/%x", "d/good"]
    [(path, error)] = heard
    assert path == "d/\\udcff\\udcfe"
    assert str(error) == "the key is not valid Unicode (rename the file or folder)"
    await store.close()


async def test_a_folder_that_may_not_be_read_is_reported_and_hides_no_other(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But a bucket that may not be read is none that is empty. (Refused by a mock: root may read everything.)"""
    for key in ("a", "d/hidden", "z"):
        (folder / key).parent.mkdir(exist_ok=True)
        (folder / key).write_bytes(b"x")
    closed, scan = folder / "d", os.scandir

    def refuse(file: int) -> Any:
        if os.path.samestat(os.stat(file), os.stat(closed)):
            raise PermissionError(errno.EACCES, "Permission denied")
        return scan(file)

    monkeypatch.setattr(os, "scandir", refuse)
    heard: list[tuple[str, SkyferryError]] = []
    store = LocalStore("s", folder, on_unreadable=lambda *found: heard.append(found))
    assert [meta.key async for meta in store.list()] == ["a", "z"]
    [(path, error)] = heard
    assert path == "d"
    assert str(error) == "d: Permission denied (grant Skyferry's user permission to read and write there)"
    closed = folder
    with pytest.raises(PermissionDenied):
        _ = [meta async for meta in store.list()]
    await store.close()


@contextmanager
def as_other_user() -> Iterator[None]:
    """Be a user without rights, because root may read everything."""
    if root := os.geteuid() == 0:
        os.seteuid(65533)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


@pytest.mark.parametrize("mode", [0o000, 0o111, 0o444])
async def test_permissions_of_a_folder_hide_no_other(mode: int) -> None:
    """The system refuses to open it, to list it, or to look at what it lists."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        for key in ("a", "d/hidden", "e/d/hidden", "e/z", "z"):
            (folder / key).parent.mkdir(exist_ok=True, parents=True)
            (folder / key).write_bytes(b"x")
        heard: list[str] = []
        store = LocalStore("s", folder, on_unreadable=lambda path, error: heard.append(path))
        assert len([meta async for meta in store.list()]) == 5  # and all modules are imported
        closed = [folder / "d", folder / "e/d"]
        for path in closed:
            path.chmod(mode)
        with as_other_user():
            listed = [meta.key async for meta in store.list()]
        await store.close()
        for path in closed:
            path.chmod(0o755)
        assert (listed, sorted(heard)) == (["a", "e/z", "z"], ["d", "e/d"])


@pytest.mark.parametrize("links", [True, False])
async def test_a_file_renamed_into_place_just_before_a_delete_stays(
    store: LocalStore, folder: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    """It comes after the last look, by somebody who knows nothing of our lock."""
    old, look = await put(store, "k"), local_write._look

    def late(*where: Any) -> os.stat_result | None:
        found = look(*where)
        (folder / "new").write_bytes(b"a newer version")
        os.replace(folder / "new", folder / "k")
        return found

    def no_links(*args: Any, **given: Any) -> None:
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(local_write, "_look", late)
    if not links:
        monkeypatch.setattr(os, "link", no_links)
    with pytest.raises(PreconditionFailed):
        await store.delete("k", Precondition(replace=old.version))
    assert (folder / "k").read_bytes() == b"a newer version"
    assert temporary(folder) == []
    monkeypatch.undo()
    await store.delete("k", Precondition(replace=(await store.head("k")).version))
    assert not (folder / "k").exists()


async def test_an_empty_folder_is_not_in_the_way(store: LocalStore, folder: Path) -> None:
    """One with something in it is, and the message says so."""
    (folder / "k").mkdir()
    await put(store, "k", when=Precondition(create_only=True))
    (folder / "full").mkdir()
    (folder / "full" / "x").write_bytes(b"x")
    for key in ("full", "k/below", "full/x/below"):
        with pytest.raises(InvalidKey, match="cannot both be objects"):
            await put(store, key)
    assert temporary(folder) == []


# --- the bucket itself ------------------------------------------------------------------------------------------------


async def test_a_bucket_that_vanishes_is_no_empty_bucket(store: LocalStore, folder: Path) -> None:
    """Moved away, also in the middle of a listing: BucketNotFound. Put back, it works on."""
    for n in range(3):
        await put(store, f"d{n}/k")
    folder.rename(folder.with_name("away"))
    for ask in (store.head("d0/k"), put(store, "d0/k")):
        with pytest.raises(BucketNotFound, match="mounted"):
            await ask
    folder.with_name("away").rename(folder)
    assert [meta.key async for meta in store.list()] == ["d0/k", "d1/k", "d2/k"]


async def test_a_bucket_that_is_replaced_is_noticed(store: LocalStore, folder: Path) -> None:
    """Everything from then on is about the new folder."""
    await put(store, "k")
    folder.rename(folder.with_name("away"))
    folder.mkdir()
    with pytest.raises(ObjectNotFound):
        await store.head("k")
    assert [meta.key async for meta in store.list()] == []
    await put(store, "new")
    assert (folder / "new").exists()
    assert not (folder.with_name("away") / "new").exists()


async def test_a_listing_does_not_end_quietly_in_a_bucket_that_is_gone(
    store: LocalStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was not found would look like deletes."""
    monkeypatch.setattr("skyferry.stores.local.store.PAGE", 1)
    for n in range(3):
        await put(store, f"d{n}/k")
    listing = store.list()
    await anext(listing)
    shutil.rmtree(folder)
    with pytest.raises(BucketNotFound):
        async for _ in listing:
            pass


async def test_the_private_folder_may_be_removed_at_any_time(store: LocalStore, folder: Path) -> None:
    """It is made again."""
    await put(store, "k")
    for _ in range(2):
        shutil.rmtree(folder / ".skyferry")
        meta = await put(store, "k")
        await put(store, "k", when=Precondition(replace=meta.version))
        shutil.rmtree(folder / ".skyferry")
        await store.delete("k")
        await put(store, "k")


async def test_a_closed_store_refuses(folder: Path) -> None:
    """It does not hang."""
    store = LocalStore("s", folder)
    await put(store, "k")
    await store.close()
    with pytest.raises(StoreUnavailable, match="closed"):
        await store.head("k")


@pytest.mark.parametrize("opened", [True, False], ids=["opened before", "opened after"])
async def test_a_bucket_of_known_identity_is_no_folder_that_replaces_it(tmp_path: Path, opened: bool) -> None:
    """An unmounted disk must not make its mount point the bucket that a command reads or writes."""
    folder, away = tmp_path / "bucket", tmp_path / "away"
    folder.mkdir()
    first, store = (
        LocalStore("test", folder, expected=ExpectedFolder(identity=identify(folder.stat()))) for _ in range(2)
    )
    try:
        meta = await put(first, "k")
        if opened:
            await store.head("k")
        folder.rename(away)
        folder.mkdir()
        with pytest.raises(BucketNotFound, match="another folder is in its place"):
            await store.head("k")
        with pytest.raises(BucketNotFound, match="another folder is in its place"):
            await put(store, "k")
        with pytest.raises(BucketNotFound, match="another folder is in its place"):
            [each async for each in store.list()]
        assert os.listdir(folder) == []
        folder.rmdir()
        away.rename(folder)
        assert (await store.head("k")).version == meta.version
    finally:
        await first.close()
        await store.close()
