"""Clients that say nothing, say it slowly, or say too much keep no other client waiting, and fill neither memory nor log."""

from __future__ import annotations

import asyncio
import errno
import logging
import resource
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from prometheus_client import CollectorRegistry
from tests.server.served import Service

from skyferry.config.push import PushSettings
from skyferry.config.settings import ServerSettings
from skyferry.server import PushEndpoints, create_app, middleware, serve
from skyferry.server.connections import acceptor, connection
from skyferry.server.routers.events import EXAMPLE
from skyferry.status import Submission

HALF = b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-"
BODY = b"POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n["


@asynccontextmanager
async def served(service: Service, **settings: Any) -> AsyncIterator[str]:
    """A server with these settings."""
    given = ServerSettings(**settings)
    endpoints = PushEndpoints.from_settings(
        [PushSettings(name="s", kind="s3", secret_env="S")], {"S": "x" * 16}, lambda: 0.0
    )
    async with serve(create_app(service, given, CollectorRegistry(), endpoints), "127.0.0.1", 0, given) as url:
        yield url


@asynccontextmanager
async def said(url: str, *pieces: bytes) -> AsyncIterator[asyncio.StreamReader]:
    """What comes back to a client that says so much and no more."""
    at = urlsplit(url)
    reader, writer = await asyncio.open_connection(at.hostname, at.port)
    try:
        writer.writelines(pieces)
        yield reader
    finally:
        writer.close()


async def end(reader: asyncio.StreamReader) -> bytes:
    """Everything until the server closes."""
    try:
        return await reader.read()
    except ConnectionError:
        return b""


async def test_the_oldest_silent_client_makes_room_for_the_next(service: Service) -> None:
    async with served(service, connections=4) as url, AsyncExitStack() as open_:
        silent = [await open_.enter_async_context(said(url, HALF)) for _ in range(12)]
        async with httpx.AsyncClient() as client:
            assert (await client.get(f"{url}/health")).status_code == 200
        assert [await end(reader) for reader in silent[:8]] == [b""] * 8


async def test_a_client_that_is_being_answered_is_not_closed_for_another(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer, asked = asyncio.Event(), asyncio.Event()

    async def submit(bodies: Sequence[bytes]) -> list[Submission]:
        asked.set()
        await answer.wait()
        return []

    monkeypatch.setattr(service, "submit", submit)
    async with served(service, connections=1, patience=0.05) as url, httpx.AsyncClient() as client:
        first = asyncio.create_task(client.post(f"{url}/v1/events", json=EXAMPLE))
        await asked.wait()
        second = asyncio.create_task(client.get(f"{url}/health"))
        await asyncio.sleep(0.2)  # longer than a client may take
        answer.set()
        assert ((await first).status_code, (await second).status_code) == (202, 200)


@pytest.mark.parametrize("pieces", [(b"",), (HALF,), (BODY,)], ids=["nothing", "headers", "body"])
async def test_a_request_that_does_not_come_is_not_waited_for(pieces: tuple[bytes, ...], service: Service) -> None:
    async with served(service, patience=0.05) as url, said(url, *pieces) as reader:
        assert await end(reader) == b""
    assert service.sent == []


async def test_while_there_is_no_descriptor_nothing_is_logged_and_the_next_is_taken(
    service: Service, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    loop, failures = asyncio.get_running_loop(), 3
    accept: Callable[..., Any] = loop.sock_accept

    async def without(listener: socket.socket) -> Any:
        nonlocal failures
        if failures:
            failures -= 1
            raise OSError(errno.EMFILE, "Too many open files")
        return await accept(listener)

    monkeypatch.setattr(loop, "sock_accept", without)
    monkeypatch.setattr(acceptor, "PAUSE", 0.0)
    async with served(service) as url, httpx.AsyncClient() as client:
        assert (await client.get(f"{url}/health")).status_code == 200
    assert (failures, [r for r in caplog.records if r.levelno >= logging.WARNING]) == (0, [])


@pytest.mark.parametrize(
    ("configured", "limit", "expected"),
    [(0, 256, 64), (0, 1024, 256), (0, 2**20, 256), (0, resource.RLIM_INFINITY, 256), (0, 2, 1), (7, 1024, 7)],
)
def test_connections_have_a_part_of_the_descriptors(
    configured: int, limit: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (limit, limit))
    assert acceptor.connection_limit(configured) == expected


async def test_what_a_client_does_wrong_is_answered_and_not_logged(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    long, crumbs = b"a: b\r\n" * 10_000, b"1\r\n \r\n" * (connection.MAX_CHUNKS + 1)
    chunked = BODY.partition(b"Content-Length")[0] + b"Transfer-Encoding: chunked\r\n\r\n"
    async with served(service) as url:
        for request in (
            b"nonsense\r\n\r\n",
            b"GET /health HTTP/1.1\r\nHost: localhost\r\n" + long + b"\r\n",
            chunked + crumbs,
            chunked + b"zz\r\n",
        ):
            async with said(url, request) as reader:
                assert (await end(reader))[:13] in (b"HTTP/1.1 400 ", b"")  # or closed while we still spoke
        upgrade = b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade, close\r\nUpgrade: websocket\r\n\r\n"
        async with said(url, upgrade) as reader:
            assert (await end(reader)).startswith(b"HTTP/1.1 200 ")
        async with said(
            url, b"DELETE /nowhere HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        ) as reader:
            assert (await reader.readline()).startswith(b"HTTP/1.1 415 ")
    assert [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING] == []
    assert service.sent == []


@pytest.mark.parametrize("secret", ["", "?secret=wrong"])
async def test_a_push_without_its_secret_is_refused_before_its_body_comes(secret: str, service: Service) -> None:
    head = f"POST /v1/push/s{secret} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"
    async with served(service) as url, said(url, head.encode()) as reader:
        assert (await reader.readline()).startswith(b"HTTP/1.1 401 ")


async def test_large_bodies_wait_for_their_turn(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(middleware, "MAX_LARGE_BODIES", 1)
    monkeypatch.setattr(middleware, "LARGE_BODY_WAIT", 0.05)
    head = BODY.replace(b"Content-Length: 10", b"Content-Length: 100000")
    async with served(service) as url, said(url, head) as first, httpx.AsyncClient() as client:
        while not (await client.get(f"{url}/health")).is_success:  # so that the first has its turn
            pass
        async with said(url, head) as second:
            assert (await second.readline()).startswith(b"HTTP/1.1 503 ")
        small = await client.post(f"{url}/v1/events", content=b"[0]", headers={"content-type": "application/json"})
        assert small.status_code == 400
        assert not first.at_eof()


async def test_a_client_that_does_not_read_its_answers_makes_room_too(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    full, pause = asyncio.Event(), connection.Connection.pause_writing

    def pause_writing(self: connection.Connection) -> None:
        pause(self)
        full.set()

    monkeypatch.setattr(connection.Connection, "pause_writing", pause_writing)
    asked = b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n" * 300
    async with served(service, connections=1) as url, said(url, asked), httpx.AsyncClient() as client:
        await full.wait()
        assert (await client.get(f"{url}/health")).status_code == 200
