"""A connection on which nothing moves is dead after `limits.request_timeout`, however much the request carries."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from tests.clouds.test_http import LARGE, server

from skyferry.clock import SystemClock
from skyferry.clouds.http import Http, Limits
from skyferry.config.settings import Settings
from skyferry.errors import StoreTimeout
from skyferry.model import Attributes, Checksums
from skyferry.ports import ObjectStore
from skyferry.wiring.opener import Opener

STORES = {
    "s3": {"url": "s3://box?region=us-east-1", "service": "localstack"},
    "gcs": {"url": "gs://box"},
    "azure": {"url": "az://acct/box"},
}
SIZE = 4 * 2**20
READ: Callable[[ObjectStore], Any] = lambda store: store.read("k", 0, SIZE, version='"1"')  # noqa: E731
WRITE: Callable[[ObjectStore], Any] = lambda store: store.write("k", LARGE, Attributes(), Checksums())  # noqa: E731


async def begun(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Begin to answer, and stand still in the middle of the body."""
    await reader.readuntil(b"\r\n\r\n")
    ranged = f"content-length: {SIZE}\r\ncontent-range: bytes 0-{SIZE - 1}/{SIZE}"
    head = f'HTTP/1.1 206 Partial\r\netag: "1"\r\n{ranged}'
    writer.write(head.encode() + b"\r\n\r\n" + bytes(1000))
    await asyncio.Event().wait()


async def unanswered(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Take a request, and stand still before the first byte of the answer, or of the body that follows."""
    await reader.readuntil(b"\r\n\r\n")
    await asyncio.Event().wait()


def opener(cloud: str, url: str) -> Opener:
    """One store whose requests may take 0.3 s, and a second more for each 256 KiB."""
    kind = "anonymous" if cloud != "s3" else "static"
    store = {**STORES[cloud], "endpoint": url.rstrip("/"), "allow_http": True, "identity": {"kind": kind}}
    settings = Settings.model_validate({"stores": {"a": store}, "limits": {"request_timeout": "0.3s"}})
    env = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y"}
    return Opener(settings, SystemClock(), env=env)


@pytest.mark.parametrize("cloud", STORES)
@pytest.mark.parametrize(("serve", "ask"), [(begun, READ), (unanswered, READ), (unanswered, WRITE)])
async def test_a_stalled_transfer_is_aborted_after_a_silence(cloud: str, serve: Any, ask: Any) -> None:
    async with server(serve) as url:
        opened = opener(cloud, url)
        store = opened.store("a")
        try:
            if cloud == "gcs" and ask is READ:
                ask = lambda store: store.read("k", 0, SIZE, version="1")  # noqa: E731
            with pytest.raises(StoreTimeout, match=r"brought nothing for 0\.3 s"):
                await ask(store)
        finally:
            await store.close()
            await opened.close()


async def test_a_provider_that_works_may_be_silent() -> None:
    """It copies or joins objects by itself: the deadline of the request ends that, not its silence."""

    async def late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(0.2)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")

    async with server(late) as url:
        http = Http("store", url, Limits(read_timeout=0.05))
        try:
            assert (await http.exchange("PUT", url, {}, working=True)).body == b"ok"
            with pytest.raises(StoreTimeout):
                await http.exchange("PUT", url, {})
        finally:
            await http.close()
