"""Answers that Azure does not send, from a scripted server: none of them proves a write. No emulator sends them; portals do."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tests.stores.scripted_server import Answer, serve_script, write_answer

from skyferry.clouds.credentials import fixed_credentials
from skyferry.errors import StoreError
from skyferry.model import Attributes, Checksums, ObjectMeta, Part, Upload
from skyferry.stores.azure.client import AzureOptions
from skyferry.stores.azure.store import AzureStore
from skyferry.stores.azure.upload import Block

DATA = b"0123456789"
UPLOAD = Upload("0" * 24, "k", 10, 2**20, Attributes(), 0.0)
PART = Part(1, 0, 10, Block(UPLOAD.id, 1, "280c069e", 10).tag, "280c069e")
PAGE = b"<html>Sign in</html>"


@asynccontextmanager
async def serve(answer: Answer) -> AsyncIterator[AzureStore]:
    """Serve the script. Yield a store there."""
    async with serve_script(answer) as (url, _):
        store = AzureStore(
            "azure", "container", AzureOptions(f"{url}/account", read_timeout=5.0), fixed_credentials("")
        )
        try:
            yield store
        finally:
            await store.close()


async def _write(store: AzureStore) -> Any:
    return await store.write("k", DATA, Attributes(), Checksums())


async def _finish(store: AzureStore) -> Any:
    return await store.finish_upload(UPLOAD, [PART], Checksums())


async def _change(store: AzureStore) -> Any:
    return await store.set_attributes(ObjectMeta("k", 10, '"1"', 0.0), Attributes(metadata={"a": "b"}))


async def _read(store: AzureStore) -> Any:
    return await store.read("k", 0, 100)


@pytest.mark.parametrize("ask", [_write, _finish, _change, _read])
@pytest.mark.parametrize("status", [200, 201])
async def test_the_page_of_a_portal_proves_nothing(ask: Callable[[AzureStore], Awaitable[Any]], status: int) -> None:
    """Azure verifies the bytes by a checksum that it does not repeat: its success is the proof, so it must be its own."""
    async with serve(lambda *_: write_answer(status, PAGE)) as store:
        with pytest.raises(StoreError, match=r"has no ETag|how large"):
            await ask(store)


async def test_tags_that_another_server_answers_are_not_taken_for_none() -> None:
    def tagless(_: str, target: str, __: Any) -> bytes:
        if "comp=tags" in target:
            return write_answer(200, PAGE)
        return write_answer(200, length=10, x_ms_tag_count="2", etag='"1"')

    async with serve(tagless) as store:
        with pytest.raises(StoreError, match="no tags"):
            await store.head("k")


@pytest.mark.parametrize("status", [200, 202])
@pytest.mark.parametrize("body", [PAGE, b""])
async def test_the_page_of_a_portal_deletes_nothing(status: int, body: bytes) -> None:
    async with serve(lambda *_: write_answer(status, body)) as store:
        with pytest.raises(StoreError, match="the answer to the delete is not that of the service"):
            await store.delete("k")
