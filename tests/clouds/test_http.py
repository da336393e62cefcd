"""The HTTP that all clouds share, against servers that misbehave below HTTP."""

from __future__ import annotations

import asyncio
import gc
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from email.utils import formatdate

import pytest

from skyferry.clouds.http import Http, Limits, retry_after, seconds
from skyferry.errors import ConnectionLost, StoreError, StoreTimeout

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
LARGE = bytes(32 * 2**20)  # more than any socket buffers
IMPATIENT = Limits(read_timeout=0.3)


@asynccontextmanager
async def server(serve: Serve) -> AsyncIterator[str]:
    """On loopback; every connection gets `serve`, and ends with it or with the block."""
    tasks: set[asyncio.Task[None]] = set()

    async def run(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await serve(reader, writer)
        except (asyncio.CancelledError, OSError):
            return
        finally:
            writer.transport.abort() if task.cancelling() else writer.close()

    listening = await asyncio.start_server(run, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/"
    finally:
        listening.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks)


async def ask(url: str, body: bytes | tuple[bytes, ...] = b"", limits: Limits = IMPATIENT, limit: int = 100) -> bytes:
    http = Http("store", url, limits)
    try:
        return (await http.exchange("PUT", url, {}, body, limit=limit, key="k")).body
    finally:
        await http.close()


async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Takes the connection and no more than the sockets' buffers."""
    await asyncio.Event().wait()


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Takes everything and says nothing."""
    while await reader.read(2**16):
        pass


def says(answer: bytes) -> Serve:
    """Reads the head, and answers this."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()

    return serve


@pytest.mark.parametrize("when", [0, 951_782_400, 1_795_903_261, 4_102_444_799])
def test_an_http_date_is_a_time(when: int) -> None:
    assert seconds(formatdate(when, usegmt=True)) == when


@pytest.mark.parametrize("date", ["", "x", "Sat, 31 Feb 2026 00:00:00 GMT", "Sat, 28 Foo 2026 00:00:00 GMT"])
def test_a_malformed_date_is_no_time(date: str) -> None:
    assert seconds(date) == 0.0


def test_the_older_form_of_a_date_is_read_too() -> None:
    assert seconds("Saturday, 28-Nov-26 22:01:01 GMT") == 1_795_903_261


async def test_a_server_that_takes_no_bytes_is_given_up() -> None:
    async with server(deaf) as url:
        with pytest.raises(StoreTimeout, match="store k"):
            await ask(url, LARGE)


async def test_a_server_that_never_answers_is_given_up() -> None:
    async with server(silent) as url:
        for body in (b"", b"x", LARGE):
            with pytest.raises(StoreTimeout):
                await ask(url, body)


def test_what_refuses_a_body_at_once_is_not_sent_the_rest() -> None:
    """Nothing of the connection is left, although the server neither reads on nor hangs up: the collector would tell."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url, held = f"http://127.0.0.1:{listening.getsockname()[1]}/", list[socket.socket]()

        async def refused() -> bytes:
            asking = asyncio.create_task(ask(url, LARGE))
            held.append((await asyncio.to_thread(listening.accept))[0])
            held[0].sendall(b"HTTP/1.1 404 Not Found\r\ncontent-length: 4\r\n\r\ngone")
            return await asking

        assert asyncio.run(refused()) == b"gone"
        gc.collect()
        held[0].close()


async def test_a_body_in_parts_arrives_in_order() -> None:
    came = bytearray()

    async def keep(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        came.extend(await reader.readexactly(length))
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        await writer.drain()

    parts = (b"head", bytes(range(256)) * 4096, b"", b"tail")
    async with server(keep) as url:
        await ask(url, parts)
    assert bytes(came) == b"".join(parts)


async def test_a_refused_connection_is_a_lost_connection() -> None:
    async with server(silent) as url:
        pass
    with pytest.raises(ConnectionLost):
        await ask(url)


async def test_more_than_was_asked_for_is_not_read() -> None:
    """Said in advance, or found out on the way."""
    async with server(says(b"HTTP/1.1 200 OK\r\ncontent-length: 101\r\n\r\n" + bytes(101))) as url:
        with pytest.raises(StoreError, match="101 bytes where 100"):
            await ask(url)
    async with server(says(b"HTTP/1.1 200 OK\r\n\r\n" + bytes(101))) as url:
        with pytest.raises(StoreError, match="more than the 100 bytes"):
            await ask(url)


async def test_what_is_no_http_is_a_lost_connection() -> None:
    for words in (b"", b"220 mail ready\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nshort"):
        async with server(says(words)) as url:
            with pytest.raises(ConnectionLost) as lost:
                await ask(f"{url}/?upload_id=secret")
            assert lost.value.message
            assert "secret" not in str(lost.value)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        *(("", None), ("7", 7.0), ("0.5", 0.5), ("-1", 0.0), ("soon", None), ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0)),
        *(("inf", None), ("nan", None), ("86400", 3600.0), ("Fri, 31 Dec 9999 23:59:59 GMT", 3600.0)),
    ],
)
def test_retry_after_is_seconds_or_a_date(header: str, seconds: float | None) -> None:
    assert retry_after(header) == seconds


@pytest.mark.parametrize("method", ["PUT", "GET", "HEAD"])
async def test_a_server_that_repeats_the_request_gives_no_secret_away(method: str) -> None:
    """Neither in a body nor in a header: it goes into errors."""
    secret = "PLANTED/session+token=="
    body = b"" if method == "HEAD" else f"refused: x-amz-security-token: {secret}".encode()
    answer = b"HTTP/1.1 403 No\r\nx-said: %b\r\nContent-Length: %d\r\n\r\n%b" % (secret.encode(), len(body), body)
    async with server(says(answer)) as url:
        http = Http("store", url, IMPATIENT)
        try:
            told = await http.exchange(method, url, {"x-amz-security-token": secret}, key="k")
        finally:
            await http.close()
    assert (told.status, told.headers["x-said"]) == (403, "[secret]")
    assert secret.encode() not in told.body


async def test_an_object_comes_as_it_is() -> None:
    """It may hold what the request does."""
    async with server(says(b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nPLANTEDtoken")) as url:
        http = Http("store", url, IMPATIENT)
        try:
            told = await http.exchange("GET", url, {"authorization": "PLANTEDtoken"}, key="k")
        finally:
            await http.close()
    assert told.body == b"PLANTEDtoken"
