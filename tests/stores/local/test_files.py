"""What the local store does on disk: durable, proven, tidy."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.stores.local.on_disk import put, temporary

from skyferry.errors import (
    ChecksumMismatch,
    ConnectionLost,
    InvalidKey,
    OutOfResources,
    PermissionDenied,
    QuotaExceeded,
    SkyferryError,
    StoreError,
    StoreTimeout,
    StoreUnavailable,
    Unsupported,
)
from skyferry.model import Attributes, Checksums
from skyferry.ports import ANY, Precondition
from skyferry.stores.local.blocking import writing as local_write
from skyferry.stores.local.blocking.files import write_all
from skyferry.stores.local.errors import _ROWS as ROWS
from skyferry.stores.local.errors import TABLE, translate
from skyferry.stores.local.store import LocalStore
from skyferry.testing.store_cases.place import EVERYTHING, compute_digests

OLD = local_write.ABANDONED + 60  # seconds


# --- durable and proven ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("when", [ANY, Precondition(create_only=True)])
async def test_bytes_are_durable_before_the_name_and_the_name_before_the_answer(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch, when: Precondition
) -> None:
    """fsync of the file, the new name, fsync of the folder: in this order."""
    await put(store, "d/warm")
    steps: list[str] = []

    def spy(name: str) -> None:
        inner: Callable[..., Any] = getattr(os, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            kind = "" if name != "fsync" else "folder" if os.path.isdir(f"/proc/self/fd/{args[0]}") else "file"
            steps.append(f"{name} {kind}".strip())
            return inner(*args, **kwargs)

        monkeypatch.setattr(os, name, call)

    for name in ("pwrite", "pread", "setxattr", "fsync", "link", "rename"):
        spy(name)
    await put(store, "d/k", when=when)
    take = "link" if when.create_only else "rename"
    assert steps == ["pwrite", "pread", "setxattr", "fsync file", take, "fsync folder"]


async def test_a_disk_that_changes_bytes_is_noticed(
    store: LocalStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is read back differs: ChecksumMismatch, the old object stays, and nothing is left behind."""
    kept = await put(store, "k", b"old")
    upload = await store.start_upload("k", 3, 3, Attributes())
    real = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda file, data, at: real(file, bytes(data)[:-1] + b"!", at))
    for checksums in (compute_digests(b"new"), Checksums()):
        with pytest.raises(ChecksumMismatch):
            await store.write("k", b"new", Attributes(), checksums)
        with pytest.raises(ChecksumMismatch):
            await store.write_part(upload, 1, b"new", checksums.crc32c)
    assert (await store.head("k")).version == kept.version
    await store.abort_upload(upload)
    assert temporary(folder) == []


async def test_a_write_that_takes_several_calls_is_whole(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system may write and read less than it was asked to."""
    write, read = os.pwrite, os.pread
    monkeypatch.setattr(os, "pwrite", lambda file, data, at: write(file, bytes(data)[:7], at))
    monkeypatch.setattr(os, "pread", lambda file, size, at: read(file, min(size, 5), at))
    data = bytes(range(100))
    await put(store, "k", data)
    assert (await store.read("k", 0, 1000)).data == data
    assert (await store.read("k", 10, 50)).data == data[10:60]


@pytest.mark.parametrize("call", ["fsync", "link", "setxattr", "pwrite"])
async def test_a_full_disk_leaves_nothing_behind(
    store: LocalStore, folder: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """QuotaExceeded, no object, no temporary file."""
    await put(store, "warm")

    def full(*args: object, **kwargs: object) -> None:
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    monkeypatch.setattr(os, call, full)
    if call == "setxattr":
        monkeypatch.setattr(os, "fsync", full)  # EDQUOT of an attribute only means that it goes beside the file
    with pytest.raises(QuotaExceeded):
        await put(store, "k", when=Precondition(create_only=True))
    assert [meta.key async for meta in store.list()] == ["warm"]
    assert temporary(folder) == []


async def test_an_upload_without_room_is_refused_at_once(store: LocalStore, folder: Path) -> None:
    """Before its first byte is read."""
    with pytest.raises(QuotaExceeded):
        await store.start_upload("k", 2**60, 2**30, Attributes())
    assert temporary(folder) == []


@pytest.mark.parametrize(
    ("number", "error"),
    [
        (errno.ENOSPC, QuotaExceeded),
        (errno.EDQUOT, QuotaExceeded),
        (errno.EACCES, PermissionDenied),
        (errno.EPERM, PermissionDenied),
        (errno.EROFS, StoreUnavailable),
        (errno.EFBIG, Unsupported),
        (errno.EOVERFLOW, Unsupported),
        (errno.EXDEV, Unsupported),
        (errno.EOPNOTSUPP, Unsupported),
        (errno.EBUSY, StoreError),
        (errno.ETXTBSY, StoreError),
        (errno.EINVAL, StoreError),
        (errno.ETIMEDOUT, StoreTimeout),
        (errno.EHOSTDOWN, ConnectionLost),
        (errno.EHOSTUNREACH, ConnectionLost),
        (errno.ENOTCONN, StoreUnavailable),
        (errno.ENOENT, StoreUnavailable),
        (errno.ENAMETOOLONG, InvalidKey),
        (errno.ENOTDIR, InvalidKey),
        (errno.EISDIR, InvalidKey),
        (errno.ENOTEMPTY, InvalidKey),
        (errno.ELOOP, InvalidKey),
        (errno.EILSEQ, InvalidKey),
        (errno.EMFILE, OutOfResources),
        (errno.ENFILE, OutOfResources),
        (errno.ENOMEM, OutOfResources),
        (errno.EIO, StoreUnavailable),
        (errno.ESTALE, StoreUnavailable),
        (errno.ENODEV, StoreUnavailable),
        (9999, StoreUnavailable),
    ],
)
def test_errors_of_the_system_are_translated_with_a_hint(number: int, error: type[SkyferryError]) -> None:
    """Each says what the operator can do."""
    said = translate(OSError(number, os.strerror(number)), "s k")
    assert type(said) is error
    assert said.hint
    assert said.where == "s k"


def test_no_number_is_in_the_table_twice() -> None:
    """The last would win unseen. Some systems have two names for one number."""
    names = [name for _, _, row, _ in ROWS for name in row.split()]
    assert len(names) == len(set(names))
    assert len(TABLE) >= len({getattr(errno, name) for name in names if hasattr(errno, name)})


# --- uploads ----------------------------------------------------------------------------------------------------------


async def test_a_part_that_comes_late_does_not_touch_the_object(
    store: LocalStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One being written is waited for; after the end, none is taken."""
    upload = await store.start_upload("k", 4, 4, Attributes())
    part = await store.write_part(upload, 1, b"data", "")
    writing, go_on = threading.Event(), threading.Event()

    def slow(file: int, data: bytes, offset: int = 0) -> None:
        writing.set()
        assert go_on.wait(30)
        write_all(file, data, offset)

    monkeypatch.setattr(local_write, "write_all", slow)
    writer = local_write.LocalWriter(store._bucket, "s")
    late = threading.Thread(target=writer.write_part, args=(upload, 1, b"data", ""))
    finish = threading.Thread(target=writer.finish, args=(upload, [part], Checksums(), ANY))
    late.start()
    assert writing.wait(30)
    finish.start()
    finish.join(0.05)
    assert finish.is_alive()
    assert not (folder / "k").exists()
    go_on.set()
    late.join()
    finish.join()
    found = await store.head("k")
    with pytest.raises(StoreError, match="does not exist any more"):
        await store.write_part(upload, 1, b"data", "")
    assert (await store.head("k")).version == found.version


async def test_a_finish_that_died_after_taking_the_name_can_be_repeated(store: LocalStore, folder: Path) -> None:
    """The temporary name was left; the object is whole, takes no part any more, and is found to be ours."""
    upload = await store.start_upload("k", 4, 4, EVERYTHING)
    part = await store.write_part(upload, 1, b"data", "")
    os.link(folder / ".skyferry" / "tmp" / f"u-{upload.id}", folder / "k")
    with pytest.raises(StoreError):
        await store.write_part(upload, 1, b"evil", "")
    made = await store.finish_upload(upload, [part], compute_digests(b"data"), Precondition(create_only=True))
    assert (await store.read("k", 0, 9, version=made.version)).data == b"data"
    assert temporary(folder) == []


async def test_what_was_abandoned_is_swept(folder: Path) -> None:
    """At the first write of a store; what somebody may still go on with stays."""
    first = LocalStore("s", folder)
    old, young = [await first.start_upload("k", 4, 4, Attributes()) for _ in range(2)]
    past = time.time() - OLD
    os.utime(folder / ".skyferry" / "tmp" / f"u-{old.id}", (past, past))
    await first.close()
    second = LocalStore("s", folder)
    await put(second, "k")
    assert temporary(folder) == [f"u-{young.id}"]
    await second.close()


@pytest.mark.parametrize("ident", ["", "..", "../../k", "/etc/passwd", "x" * 32, "0" * 31])
async def test_an_upload_id_is_no_path(store: LocalStore, folder: Path, ident: str) -> None:
    """Of an upload that never was."""
    from dataclasses import replace

    await put(store, "k")
    upload = replace(await store.start_upload("k", 4, 4, Attributes()), id=ident)
    with pytest.raises(StoreError):
        await store.write_part(upload, 1, b"data", "")
    await store.abort_upload(upload)
    assert (folder / "k").exists()


# --- tidy -------------------------------------------------------------------------------------------------------------


async def test_folders_that_we_made_go_with_their_last_object(store: LocalStore, folder: Path) -> None:
    """Those that somebody else made stay, even empty."""
    (folder / "theirs").mkdir()
    for key in ("ours/a/b/k", "ours/other", "theirs/a/k"):
        await put(store, key)
    for key in ("ours/a/b/k", "theirs/a/k"):
        await store.delete(key)
    assert sorted(os.listdir(folder)) == [".skyferry", "ours", "theirs"]
    assert (os.listdir(folder / "ours"), os.listdir(folder / "theirs")) == (["other"], [])


async def test_reading_leaves_no_trace(store: LocalStore, folder: Path) -> None:
    """A source that we may only read needs no folder of ours."""
    (folder / "k").write_bytes(b"data")
    await store.read("k", 0, 9)
    await store.head("k")
    assert [meta.key async for meta in store.list()] == ["k"]
    assert os.listdir(folder) == ["k"]


async def test_metadata_beside_a_file_go_with_it(store: LocalStore, folder: Path) -> None:
    """What is too large for an attribute leaves nothing behind when the object is replaced or deleted."""
    large = Attributes(metadata={"m": "x" * 20_000})
    for data in (b"one", b"two"):
        await store.write("k", data, large, Checksums())
    beside = folder / ".skyferry" / "meta"
    assert len(os.listdir(beside)) == 1
    await put(store, "k")
    assert os.listdir(beside) == []
    await store.write("k", b"x", large, Checksums())
    await store.delete("k")
    assert os.listdir(beside) == []


def test_a_part_is_written_in_pieces_that_need_no_contiguous_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """See `PIECE`; `python -m bench.writes` measures it."""
    data, lengths, pwrite = os.urandom(2**20 + 1), [], os.pwrite

    def record(file: int, piece: bytes | memoryview, offset: int) -> int:
        lengths.append(len(piece))
        return pwrite(file, piece, offset)

    monkeypatch.setattr(os, "pwrite", record)
    with (tmp_path / "k").open("wb") as file:
        write_all(file.fileno(), data, 3)
    assert (tmp_path / "k").read_bytes() == bytes(3) + data
    assert max(lengths) == 64 * 1024
