"""What a folder remembers of uploads under way."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from skyferry.model import Attributes, Upload
from skyferry.stores.local import uploads as local_uploads
from skyferry.stores.local.store import LocalStore
from skyferry.testing.store_cases.place import compute_digests


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[LocalStore]:
    made = LocalStore("d", tmp_path)
    yield made
    await made.close()


async def half(store: LocalStore) -> Upload:
    """An upload with two of its three parts."""
    upload = await store.start_upload("k", 25, 10, Attributes())
    for number in (1, 2):
        await store.write_part(upload, number, b"x" * 10, compute_digests(b"x" * 10).crc32c)
    return upload


async def test_after_the_machine_was_started_again_parts_are_sent_anew(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the kernel had not written is lost with it; the upload itself can be gone on with."""
    upload = await half(store)
    assert [part.number for part in await store.uploaded_parts(upload)] == [1, 2]
    monkeypatch.setattr(local_uploads, "_boot", lambda: "another")
    assert await store.uploaded_parts(upload) == []
    await store.write_part(upload, 2, b"x" * 10, "")
    assert [part.number for part in await store.uploaded_parts(upload)] == [2]


async def test_a_line_cut_by_a_crash_counts_as_none(store: LocalStore, tmp_path: Path) -> None:
    """The part that it is about is sent again."""
    upload = await half(store)
    notes = tmp_path / ".skyferry" / "uploads" / upload.id
    notes.write_bytes(notes.read_bytes()[:-3])
    assert [part.number for part in await store.uploaded_parts(upload)] == [1]


async def test_nothing_is_kept_of_what_is_over(store: LocalStore, tmp_path: Path) -> None:
    """Finished or aborted; an id that is none of ours names no file."""
    aborted, upload = await half(store), await half(store)
    await store.abort_upload(aborted)
    await store.abort_upload(Upload("../meta", "k", 1, 1))
    parts = [*await store.uploaded_parts(upload), await store.write_part(upload, 3, b"x" * 5, "")]
    await store.finish_upload(upload, parts, compute_digests(b"x" * 25))
    assert list((tmp_path / ".skyferry" / "uploads").iterdir()) == []
    assert [u async for u in store.uploads()] == []
