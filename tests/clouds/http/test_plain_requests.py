"""Plain requests against servers that misbehave at every place."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from typing import cast

import pytest
from tests.clouds.http.raw_server import OK, RawServer, Serve, client
from tests.clouds.http.test_response_parser import GOOD, IRREGULAR

from skyferry.clouds.http.connection import HttpConnection
from skyferry.clouds.http.limits import Limits
from skyferry.clouds.http.pool import ConnectionPool
from skyferry.clouds.http.request import HttpOrigin, PlainRequest, encode_request
from skyferry.clouds.http.response_parser import ResponseParser
from skyferry.errors import ConnectionLost, StoreError, StoreTimeout
from skyferry.tasks.deadlines import DeadlineSweep


def reset(writer: asyncio.StreamWriter) -> None:
    """End a connection by a reset."""
    socket_ = writer.get_extra_info("socket")
    socket_.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@pytest.fixture
async def quiet() -> AsyncIterator[None]:
    """Check that a test leaves no task behind."""
    before = asyncio.all_tasks()
    yield
    assert asyncio.all_tasks() - before <= {asyncio.current_task()}


@pytest.mark.parametrize("name", sorted(GOOD))
async def test_every_valid_response_arrives_and_a_kept_connection_serves_the_next(name: str) -> None:
    data, status, body = GOOD[name]
    server = RawServer()
    server.add(server.answer(data))
    async with server.run() as url, client(url) as http:
        for _ in range(3):
            got = await http.exchange("GET", url, {})
            assert (got.status, got.body) == (status, body)
    assert server.connections == (3 if name in ("close", "old") else 1)


@pytest.mark.parametrize("name", sorted(IRREGULAR))
async def test_every_irregular_response_closes_the_connection(name: str) -> None:
    server = RawServer()
    server.add(server.answer(IRREGULAR[name]), server.answer(OK))
    async with server.run() as url, client(url) as http:
        with pytest.raises(ConnectionLost, match=r"^store k: "):
            await http.exchange("PUT", url, {}, b"x", key="k")
        assert (await http.exchange("PUT", url, {}, b"x", key="k")).body == b"ok"
    assert server.connections == 2


@pytest.mark.parametrize("more", [b"\r\n", b"x", OK, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nFORGE"])
@pytest.mark.parametrize("pause", [0.0, 0.05])
async def test_bytes_after_a_response_never_pass_for_the_next(more: bytes, pause: float) -> None:
    """At once, or while the connection is idle."""
    server = RawServer()
    server.add(server.answer(OK, more, pause=pause), server.answer(OK.replace(b"ok", b"me")))
    async with server.run() as url, client(url) as http:
        assert (await http.exchange("GET", url, {})).body == b"ok"
        await asyncio.sleep(0.15)
        assert (await http.exchange("GET", url, {})).body == b"me"


async def test_a_response_before_its_request_is_not_taken() -> None:
    server = RawServer()

    async def hasty(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.read(reader)
        writer.write(OK)
        await asyncio.sleep(0.05)
        writer.write(OK.replace(b"ok", b"no"))
        await server.read(reader)

    server.add(hasty, server.answer(OK))
    async with server.run() as url, client(url) as http:
        await http.exchange("GET", url, {})
        await asyncio.sleep(0.15)
        assert (await http.exchange("GET", url, {})).body == b"ok"


@pytest.mark.parametrize("size", [0, 1, 200_000])
@pytest.mark.parametrize("keep", [True, False])
async def test_a_refusal_before_the_body_is_sent_arrives(size: int, keep: bool) -> None:
    """The server answers after the head, and reads no more. The connection is not used again."""
    server, refusal = RawServer(), b"HTTP/1.1 503 Slow Down\r\nContent-Length: 4\r\n\r\nslow"

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(refusal)
        if not keep:
            writer.write_eof()
        await asyncio.Event().wait()

    server.add(refuse)
    async with server.run() as url, client(url) as http:
        got = await http.exchange("PUT", url, {}, bytes(size))
        assert (got.status, got.body) == (503, b"slow")


async def test_a_refusal_while_the_body_is_stuck_arrives() -> None:
    """Even when no more of the body fits the sockets."""
    server = RawServer()

    async def stuck(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        cast(asyncio.Transport, writer.transport).pause_reading()
        await asyncio.sleep(0.1)
        writer.write(b"HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno")
        await asyncio.Event().wait()

    server.add(stuck)
    async with server.run() as url, client(url) as http:
        asked = [http.exchange("PUT", url, {}, bytes(256 * 2**10)) for _ in range(4)]
        assert [got.status for got in await asyncio.gather(*asked)] == [403] * 4


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
@pytest.mark.parametrize("by_reset", [True, False])
async def test_a_kept_connection_that_ends_before_the_response_is_replaced(method: str, by_reset: bool) -> None:
    server = RawServer()

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.read(reader)
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        await server.read(reader)
        if by_reset:
            reset(writer)

    server.add(once, server.answer(b"HTTP/1.1 204 No Content\r\n\r\n"))
    async with server.run() as url, client(url) as http:
        for tries in (1, 2):
            response = await http.exchange(method, url, {}, b"x" if method == "PUT" else b"")
            assert (response.status, response.tries) == (204, tries)
    assert (server.connections, len(server.requests)) == (2, 3)


async def test_what_may_not_be_repeated_is_sent_once() -> None:
    """A POST; a range; any request on a new connection; any request whose response has begun."""
    server = RawServer()

    def end_at(request: int, beginning: bytes = b"") -> Serve:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            for _ in range(request):
                await server.read(reader)
                writer.write(OK)
            await server.read(reader)
            writer.write(beginning)

        return serve

    server.add(end_at(1), end_at(0), end_at(1, b"HTTP/1.1 2"), end_at(1))
    async with server.run() as url, client(url) as http:
        await http.exchange("POST", url, {})
        with pytest.raises(ConnectionLost, match="the server closed the connection"):
            await http.exchange("POST", url, {})
        with pytest.raises(ConnectionLost, match="the server closed the connection"):
            await http.exchange("GET", url, {})
        await http.exchange("GET", url, {})
        with pytest.raises(ConnectionLost, match="ended early"):
            await http.exchange("GET", url, {})
        await http.exchange("GET", url, {})
        with pytest.raises(ConnectionLost, match="the server closed the connection"):
            await http.exchange("PUT", url, {"Content-Range": "bytes 0-0/*"}, b"x")
    assert (server.connections, len(server.requests)) == (4, 7)


async def test_a_connection_that_the_server_closed_while_idle_costs_no_request() -> None:
    server = RawServer()

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.read(reader)
        writer.write(OK)

    server.add(once)
    async with server.run() as url, client(url) as http:
        for _ in range(3):
            assert (await http.exchange("POST", url, {})).body == b"ok"
            await asyncio.sleep(0.05)
    assert len(server.requests) == 3


async def test_what_arrived_of_a_range_is_kept_and_only_of_that_version() -> None:
    head = b'HTTP/1.1 206 Partial\r\nETag: "1"\r\nContent-Length: 10\r\n\r\nhello'
    server = RawServer()

    async def half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.read(reader)
        writer.write(head)

    server.add(half)
    async with server.run() as url, client(url) as http:
        for pin, kept in (('"1"', b"hello"), ('"2"', b"")):
            with pytest.raises(ConnectionLost) as lost:
                await http.exchange("GET", url, {"if-match": pin}, limit=10)
            assert lost.value.partial == kept


async def test_silence_ends_a_request_and_slowness_ends_it_by_the_total() -> None:
    """Before the first byte, within the body, and byte by byte for ever."""
    server, head = RawServer(), b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
    server.add(server.answer(b""), server.answer(head), server.answer(head, *[b"x"] * 1000, pause=0.05))
    async with server.run() as url:
        async with client(url, read_timeout=0.2) as http:
            for _ in range(2):
                with pytest.raises(StoreTimeout, match=r"brought nothing for 0\.2 s"):
                    await http.exchange("GET", url, {})
        async with client(url, read_timeout=0.5, total=0.6) as http:
            with pytest.raises(StoreTimeout, match=r"no answer within 0\.6 s"):
                await http.exchange("GET", url, {})
    assert server.connections == 3


async def test_a_slow_response_that_makes_progress_arrives() -> None:
    server = RawServer()
    server.add(server.answer(*[bytes([byte]) for byte in OK], pause=0.01))
    async with server.run() as url, client(url, read_timeout=0.3) as http:
        assert (await http.exchange("GET", url, {})).body == b"ok"


async def test_a_cancellation_at_any_point_leaves_no_connection_in_an_unknown_state(quiet: None) -> None:
    """While connecting, sending, waiting and reading: the next request gets its own response, never the abandoned one."""
    server = RawServer()

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await server.read(reader)
            path = server.requests[-1].split(b" ")[1]
            for piece in (b"HTTP/1.1 200 OK\r\n", b"Content-Length: %d\r\n\r\n" % len(path), path[:2], path[2:]):
                writer.write(piece)
                await asyncio.sleep(0.002)

    server.add(echo)
    async with server.run() as url, client(url, connections=2) as http:
        for steps in range(40):
            task = asyncio.create_task(http.exchange("PUT", f"{url}abandoned{steps}", {}, bytes(100_000)))
            for _ in range(steps % 10):
                await asyncio.sleep(0)
            await asyncio.sleep(0.001 * (steps // 5))
            task.cancel()
            await asyncio.wait([task])
            got = await http.exchange("GET", f"{url}next{steps}", {})
            assert got.body == b"/next%d" % steps
        for pool in http._plain._pools.values():
            assert all(connection.reusable for connection in pool._idle)
            assert len(pool._open) == len(pool._idle) <= 2
            assert not pool._sweep.watched


async def test_a_client_that_closes_ends_its_requests_and_connections(quiet: None) -> None:
    server = RawServer()
    server.add(server.answer(b""))
    async with server.run() as url:
        async with client(url) as http:
            task = asyncio.create_task(http.exchange("GET", url, {}))
            await asyncio.sleep(0.05)
        with pytest.raises(ConnectionLost):
            await task
        await asyncio.sleep(0.05)
        assert server.open == 0


async def test_no_more_connections_than_allowed_and_waiting_requests_are_served() -> None:
    server = RawServer()
    server.add(server.answer(OK, pause=0.01))
    async with server.run() as url, client(url, connections=3) as http:
        await asyncio.gather(*(http.exchange("GET", url, {}) for _ in range(20)))
    assert server.connections == 3


async def test_an_idle_connection_is_closed_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("skyferry.clouds.http.pool.IDLE", 0.05)
    server = RawServer()
    server.add(server.answer(OK))
    async with server.run() as url, client(url) as http:
        await http.exchange("GET", url, {})
        await asyncio.sleep(0.2)
        assert server.open == 0
        assert (await http.exchange("GET", url, {})).body == b"ok"


async def test_large_bodies_arrive_whole_both_ways() -> None:
    body, server = bytes(range(256)) * 8192, RawServer()
    server.add(server.answer(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (8 * len(body)), *[body] * 8))
    async with server.run() as url, client(url) as http:
        got = await http.exchange("PUT", url, {}, (body[:100_000], body[100_000:]), limit=8 * len(body))
        assert got.body == body * 8
    assert server.bodies == [body]


async def test_what_would_add_a_header_is_never_sent() -> None:
    """aiohttp refuses it too, as anything unusual goes there."""
    server = RawServer()
    server.add(server.answer(OK))
    async with server.run() as url:
        http_client = client(url)
        http = await http_client.__aenter__()
        try:
            for headers in ({"x": "a\r\nX-Evil: 1"}, {"x\r\nX-Evil": "1"}, {"x": "a\nb"}, {"x: y\r\n": ""}):
                with pytest.raises((ValueError, StoreError)):
                    await http.exchange("PUT", url, headers)
        finally:
            await http.close()
    assert not any(b"Evil" in request for request in server.requests)


def test_the_length_of_the_body_replaces_one_that_is_given() -> None:
    for headers in ({"Content-Length": "9", "X": "%s"}, {"X": "%s", "content-length": "9"}):
        request = encode_request("PUT", "http://named/a", headers, (b"o", b"k"))
        assert request is not None
        lines = request.head.decode().split("\r\n")
        assert lines[:3] == ["PUT /a HTTP/1.1", "X: %s", "host: named"]
        assert lines[4:] == ["content-length: 2", "", ""]


@pytest.mark.parametrize("end", ["\r", "\n", "\0", "\udc80"])
def test_a_header_with_a_character_that_ends_it_is_not_encoded(end: str) -> None:
    assert encode_request("PUT", "http://named/a", {"x": "a", "y": f"{end}a"}, ()) is None
    assert encode_request("PUT", "http://named/a", {"x": "a", f"y{end}": "a"}, ()) is None


async def test_ipv6_and_default_headers() -> None:
    server = RawServer()
    server.add(server.answer(OK))
    async with server.run("::1") as url, client(url) as http:
        assert (await http.exchange("GET", f"{url}a?b=%20", {"Host": "named"})).body == b"ok"
        assert (await http.exchange("GET", url, {})).body == b"ok"
    first, second = (request.decode().lower() for request in server.requests)
    assert first.startswith("get /a?b=%20 http/1.1\r\nhost: named\r\nuser-agent: skyferry/")
    assert f"host: {url[7:-1]}\r\n" in second


async def test_a_connection_that_ended_before_its_request_is_lost_at_once() -> None:
    """Its end is reported once, before there is a request to fail, so waiting for a response would take all its time."""

    async def close_at_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    limits = Limits(read_timeout=30.0)
    sweep = DeadlineSweep[HttpConnection](asyncio.get_running_loop())
    async with RawServer(close_at_once).run() as url:
        port = int(url.rstrip("/").rpartition(":")[2])
        origin = HttpOrigin(secure=False, host="127.0.0.1", port=port, authority=f"127.0.0.1:{port}")
        pool = ConnectionPool(origin, sweep, limits)
        connection = await pool.connect()
        await asyncio.sleep(0.1)  # the end arrives
        request = PlainRequest(origin, "GET", b"GET / HTTP/1.1\r\n\r\n", (), idempotent=True)
        with pytest.raises(ConnectionLost, match="before the request"):
            await connection.exchange(request, ResponseParser("GET", 1000, 1000), 30.0)
        await pool.close()
    sweep.stop()
