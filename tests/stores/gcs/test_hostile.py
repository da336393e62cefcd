"""Answers that Cloud Storage does not send, from a scripted server: no versions mix, and nothing that cannot be read is a crash."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tests.stores.scripted_server import Answer, serve_script, write_answer

from skyferry.clouds.credentials import fixed_credentials
from skyferry.errors import StoreError, VersionChanged
from skyferry.model import Attributes, ObjectMeta, Upload
from skyferry.stores.gcs.client import GcsOptions
from skyferry.stores.gcs.store import GcsStore

DATA = b"0123456789"
RESOURCE = {
    "name": "k",
    "size": "10",
    "generation": "7",
    "metageneration": "1",
    "updated": "2026-01-01T00:00:00Z",
}
UPLOAD = Upload("0" * 32, "k", 10, 5 * 2**20, Attributes(), 0.0)


@asynccontextmanager
async def serve(answer: Answer) -> AsyncIterator[GcsStore]:
    """Serve the script. Yield a store there."""
    async with serve_script(answer) as (url, _):
        store = GcsStore("gcs", "b", fixed_credentials("t"), GcsOptions(endpoint=url, read_timeout=5.0))
        try:
            yield store
        finally:
            await store.close()


@pytest.mark.parametrize("start", [0, 5])
@pytest.mark.parametrize("named", ["7", ""])
async def test_a_cache_that_ignores_the_generation_mixes_no_versions(start: int, named: str) -> None:
    """The parts of the object come from generation 5, and this one would come from another."""

    def cached(_: str, target: str, __: Any) -> bytes:
        if "alt=media" not in target:
            return write_answer(200, json.dumps(RESOURCE).encode())
        headers: Any = {"content-range": f"bytes {start}-{start + 4}/10", "x-goog-metageneration": "1"}
        headers |= {"x-goog-generation": named} if named else {}
        return write_answer(206, DATA[start : start + 5], **headers)

    async with serve(cached) as store:
        with pytest.raises(VersionChanged):
            await store.read("k", start, 5, version="5")


async def _head(store: GcsStore) -> Any:
    return await store.head("k")


async def _read(store: GcsStore) -> Any:
    return await store.read("k", 0, 10)


async def _copy(store: GcsStore) -> Any:
    assert store.copy_source
    return await store.copy_from(store.copy_source, ObjectMeta("k", 10, "5", 0.0), "j", Attributes())


async def _parts(store: GcsStore) -> Any:
    return await store.uploaded_parts(UPLOAD)


ODD: Any = {"content-range": "bytes 0-9/10", "x-goog-generation": "seven"}
GARBAGE: dict[str, tuple[Callable[[GcsStore], Awaitable[Any]], bytes]] = {
    "metadata in an array": (_head, write_answer(200, json.dumps({**RESOURCE, "metadata": ["a"]}).encode())),
    "a generation that is no number": (_read, write_answer(206, DATA, **ODD)),
    "a copy that goes on without a token": (_copy, write_answer(200, b'{"done": false}')),
    "a copy in an array": (_copy, write_answer(200, b"[]")),
    "a part without a checksum": (
        _parts,
        write_answer(
            200, b'{"kind": "storage#objects", "items": [{"name": ".skyferry-uploads/%s/00001"}]}' % (b"0" * 32)
        ),
    ),
}


@pytest.mark.parametrize(("ask", "answer"), GARBAGE.values(), ids=GARBAGE.keys())
async def test_what_cannot_be_read_is_an_error_of_the_store(
    ask: Callable[[GcsStore], Awaitable[Any]], answer: bytes
) -> None:
    async with serve(lambda *_: answer) as store:
        with pytest.raises(StoreError):
            await ask(store)


@pytest.mark.parametrize("status", [200, 202])
async def test_the_page_of_a_portal_deletes_nothing(status: int) -> None:
    """Cloud Storage confirms a delete by an empty answer."""
    async with serve(lambda *_: write_answer(status, b"<html>Sign in</html>")) as store:
        with pytest.raises(StoreError, match="the answer to the delete is not that of the service"):
            await store.delete("k")


@pytest.mark.parametrize("answer", [write_answer(204, b""), write_answer(200, b""), write_answer(200, b"null\n")])
async def test_what_emulators_answer_to_a_delete_counts(answer: bytes) -> None:
    """Cloud Storage itself, storage-testbench and fake-gcs-server."""
    async with serve(lambda *_: answer) as store:
        await store.delete("k")
