"""Bodies that are sent while they are read, to servers that misbehave at every place."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator

import pytest
from tests.clouds.http.raw_server import OK, RawServer, client

from skyferry.bodies import BodyFailed, StreamedBody
from skyferry.clouds.http import Http
from skyferry.errors import ConnectionLost, StoreTimeout

DATA = random.Random(7).randbytes(3_000_000)
STEP = 700_000


def stream(pause: float = 0.0, broken: bool = False, begun: list[int] | None = None) -> StreamedBody:
    """Return a body in pieces, each of which takes a while to be read. The beginnings are added to `begun`, the ends taken away."""

    async def pieces() -> AsyncIterator[bytes]:
        if begun is not None:
            begun.append(len(begun))
        try:
            for at in range(0, len(DATA), STEP):
                await asyncio.sleep(pause)
                if broken and at:
                    raise BodyFailed from ConnectionLost("the source is gone")
                yield DATA[at : at + STEP]
        finally:
            if begun is not None:
                begun.append(-1)

    return StreamedBody(len(DATA), pieces)


async def check_next(http: Http, url: str) -> None:
    """Check that the next request gets its own response."""
    assert (await http.exchange("GET", url, {})).body == b"ok"


async def test_a_body_arrives_whole_and_its_connection_serves_the_next() -> None:
    server = RawServer()
    server.add(server.answer(OK))
    async with server.run() as url, client(url) as http:
        for _ in range(2):
            assert (await http.exchange("PUT", url, {}, stream())).status == 200
        await check_next(http, url)
    assert server.bodies == [DATA, DATA, b""]
    assert server.connections == 1


async def test_the_time_in_which_a_body_is_read_does_not_count() -> None:
    server = RawServer()
    server.add(server.answer(OK))
    async with server.run() as url, client(url, read_timeout=0.2, total=0.3) as http:
        assert (await http.exchange("PUT", url, {}, stream(pause=0.3))).status == 200
    assert server.bodies == [DATA]


async def test_a_server_that_takes_no_more_of_a_body_ends_the_request() -> None:
    begun: list[int] = []

    async def stuck(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await asyncio.Event().wait()

    endless = b"x" * 2**20

    async def pieces() -> AsyncIterator[bytes]:
        begun.append(1)
        try:
            while True:
                yield endless
        finally:
            begun.append(-1)

    async with RawServer(stuck).run() as url, client(url, read_timeout=0.2) as http:
        with pytest.raises(StoreTimeout, match=r"brought nothing for 0\.2 s"):
            await http.exchange("PUT", url, {}, StreamedBody(2**40, pieces))
    assert begun == [1, -1]


async def test_a_server_that_has_the_body_and_is_silent_ends_the_request() -> None:
    server = RawServer()
    server.add(server.answer(b""))
    async with server.run() as url, client(url, read_timeout=0.3) as http:
        with pytest.raises(StoreTimeout, match=r"brought nothing for 0\.3 s"):
            await http.exchange("PUT", url, {}, stream())
    assert server.bodies == [DATA]


@pytest.mark.parametrize("pause", [0.0, 0.05])
async def test_a_refusal_before_the_end_of_the_body_arrives(pause: float) -> None:
    """Its connection is not used again: the rest of the body would pass for a request."""
    server, begun = RawServer(), list[int]()

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno")
        await asyncio.Event().wait()

    server.add(refuse, server.answer(OK))
    async with server.run() as url, client(url) as http:
        got = await http.exchange("PUT", url, {}, stream(pause, begun=begun))
        assert (got.status, got.body) == (403, b"no")
        await check_next(http, url)
    assert (server.connections, begun) == (2, [0, -1])


async def test_a_body_that_fails_leaves_an_incomplete_request() -> None:
    server = RawServer()
    server.add(server.answer(OK))
    async with server.run() as url, client(url) as http:
        with pytest.raises(BodyFailed) as failed:
            await http.exchange("PUT", url, {}, stream(broken=True))
        assert isinstance(failed.value.__cause__, ConnectionLost)
        await check_next(http, url)
    assert (server.bodies, server.connections) == ([b""], 2)


@pytest.mark.parametrize("size", [len(DATA) - 1, len(DATA) + 1])
async def test_a_body_of_another_size_than_announced_is_no_request(size: int) -> None:
    """Neither do the last bytes of it pass for the next request, nor the first for all."""
    server = RawServer()
    server.add(server.answer(OK))
    async with server.run() as url, client(url) as http:
        with pytest.raises(ConnectionLost, match="were announced"):
            await http.exchange("PUT", url, {}, StreamedBody(size, stream().pieces))
        await check_next(http, url)
    assert (server.bodies, server.connections) == ([b""], 2)


async def test_a_kept_connection_that_ended_is_replaced_and_the_body_begins_anew() -> None:
    server, begun = RawServer(), list[int]()

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.read(reader)
        writer.write(OK)
        await reader.readuntil(b"\r\n\r\n")

    server.add(once, server.answer(OK))
    async with server.run() as url, client(url) as http:
        await check_next(http, url)
        assert (await http.exchange("PUT", url, {}, stream(begun=begun))).status == 200
    assert server.bodies == [b"", DATA]
    assert begun == [0, -1, 2, -1]


async def test_a_cancellation_ends_the_body_and_the_connection() -> None:
    server, begun = RawServer(), list[int]()
    server.add(server.answer(OK))
    async with server.run() as url, client(url) as http:
        for steps in range(12):
            begun.clear()
            task = asyncio.create_task(http.exchange("PUT", url, {}, stream(0.004, begun=begun)))
            await asyncio.sleep(0.002 * steps)
            task.cancel()
            await asyncio.wait([task])
            assert len(begun) in (0, 2)
            await check_next(http, url)
        for pool in http._plain._pools.values():
            assert len(pool._open) == len(pool._idle)
            assert not pool._sweep.watched
