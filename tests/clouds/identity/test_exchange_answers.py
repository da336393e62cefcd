"""What a token service may answer with, and no more. Servers of raw bytes, for no true one sends such."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from skyferry.clouds.identity.exchange import ANSWER, TokenRequest, request_token
from skyferry.errors import StoreUnavailable


@asynccontextmanager
async def saying(words: bytes) -> AsyncIterator[str]:
    """The URL of what answers each request with this, and closes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(words)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as listening:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/"


@pytest.mark.parametrize("status", [b"200 OK", b"400 Bad Request"])
@pytest.mark.parametrize("told", [True, False])
async def test_an_answer_has_an_end(status: bytes, told: bool) -> None:
    """A token or an error; said in advance, or found out on the way."""
    length = b"content-length: %d\r\n" % (ANSWER + 1) if told else b""
    async with saying(b"HTTP/1.1 %b\r\n%b\r\n" % (status, length) + b"x" * (ANSWER + 1)) as url:
        with pytest.raises(StoreUnavailable, match=f"more than {ANSWER} bytes"):
            await request_token(TokenRequest(url, "a service"))


async def test_the_longest_answer_is_read() -> None:
    """In as many pieces as it comes."""
    async with saying(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * ANSWER) as url:
        assert len(await request_token(TokenRequest(url, "a service"))) == ANSWER
