"""A large range is received into the memory where it stays, with its end found to the byte."""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.clouds.http.raw_server import OK, RawServer, Serve, client
from tests.clouds.http.test_plain_requests import reset
from tests.clouds.http.test_tls import certified, trusting

from skyferry.bodies import LARGE
from skyferry.clouds.http import Http, HttpResponse
from skyferry.clouds.http.connection import FIRST
from skyferry.clouds.http.response_parser import ResponseParser
from skyferry.errors import ConnectionLost, StoreTimeout

__all__ = ["trusting"]  # a fixture

SIZE = 4 * LARGE + 5
BODY = random.Random(1).randbytes(SIZE)
HEAD = b'HTTP/1.1 206 Partial Content\r\nETag: "1"\r\nContent-Length: %d\r\nContent-Range: bytes 0-%d/%d\r\n\r\n' % (
    SIZE,
    SIZE - 1,
    2 * SIZE,
)
SHORT = HEAD + BODY[: 2 * LARGE]


@pytest.fixture(params=["plain", "tls"])
def context(request: pytest.FixtureRequest, tmp_path: Path, trusting: None) -> ssl.SSLContext | None:
    """The TLS of the server, if it has any."""
    return certified(tmp_path, "localhost") if request.param == "tls" else None


@asynccontextmanager
async def serve_script(
    server: RawServer, context: ssl.SSLContext | None, script: Serve, patience: float = 20.0
) -> AsyncIterator[tuple[Http, str]]:
    """Yield a client of a server whose first connection has the script, and its URL. Later ones are good."""
    server.add(script, server.answer(OK))
    async with server.run(context=context) as url, client(url, read_timeout=patience) as http:
        yield http, url


async def read(http: Http, url: str) -> HttpResponse:
    """Read the range."""
    return await http.exchange("GET", url, {"if-match": '"1"'}, limit=SIZE)


async def test_bytes_are_received_in_place(context: ssl.SSLContext | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the bytes that came with the head pass through other memory. The connection serves the next range."""
    copied, feed = [0], ResponseParser.feed

    def count(parser: ResponseParser, data: bytes) -> None:
        copied[0] += len(data)
        feed(parser, data)

    monkeypatch.setattr(ResponseParser, "feed", count)
    server = RawServer()
    server.add(server.answer(HEAD, BODY))
    async with server.run(context=context) as url, client(url, read_timeout=20.0) as http:
        first = await read(http, url)
        second = await read(http, url)
        assert first.body == second.body == BODY
    assert copied[0] <= 2 * FIRST
    assert server.connections == 1


@pytest.mark.parametrize("pause", [0.0, 0.05])
@pytest.mark.parametrize("more", [b"x", OK, HEAD + BODY])
async def test_bytes_after_a_range_never_pass_for_the_next_response(
    context: ssl.SSLContext | None, more: bytes, pause: float
) -> None:
    server = RawServer()
    server.add(server.answer(HEAD + BODY[:-1], BODY[-1:] + more, pause=pause), server.answer(OK))
    async with server.run(context=context) as url, client(url, read_timeout=20.0) as http:
        assert (await read(http, url)).body == BODY
        while any(connection.reusable for pool in http._plain._pools.values() for connection in pool._open):
            await asyncio.sleep(0.01)
        assert (await http.exchange("GET", url, {})).body == b"ok"
    assert server.connections == 2


@pytest.mark.parametrize("end", ["close", "reset"])
async def test_a_range_that_ends_early_is_lost_and_its_beginning_kept(context: ssl.SSLContext | None, end: str) -> None:
    server = RawServer()

    async def break_off(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.read(reader)
        writer.write(SHORT)
        await writer.drain()
        while writer.transport.get_write_buffer_size():
            await asyncio.sleep(0.01)
        if end == "reset":
            reset(writer)

    async with serve_script(server, context, break_off) as (http, url):
        with pytest.raises(ConnectionLost) as lost:
            await read(http, url)
        came = lost.value.partial
        assert BODY.startswith(bytes(came))
        assert end == "reset" or len(came) == 2 * LARGE  # a reset may discard what was not received
        assert (await http.exchange("GET", url, {})).body == b"ok"


async def test_a_silent_server_in_the_middle_of_a_range(context: ssl.SSLContext | None) -> None:
    server = RawServer()
    async with serve_script(server, context, server.answer(SHORT), patience=1.0) as (http, url):
        with pytest.raises(StoreTimeout) as late:
            await read(http, url)
        assert late.value.partial
        assert BODY[: 2 * LARGE].startswith(late.value.partial)  # all of them, unless the machine was slow


async def test_a_cancellation_while_receiving_writes_into_no_memory_of_others(context: ssl.SSLContext | None) -> None:
    """The next range has its own bytes, and the connection of the first is closed."""
    server, sent = RawServer(), asyncio.Event()

    async def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.read(reader)
        writer.write(HEAD + bytes(LARGE))
        await writer.drain()
        sent.set()
        while True:
            writer.write(bytes(2**14))
            await writer.drain()
            await asyncio.sleep(0)

    server.add(begin, server.answer(HEAD, BODY))
    async with server.run(context=context) as url, client(url, read_timeout=20.0) as http:
        task = asyncio.create_task(read(http, url))
        await sent.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        got = [await read(http, url) for _ in range(3)]
        assert all(response.body == BODY for response in got)
    assert server.connections == 2
