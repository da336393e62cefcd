"""The server on a real socket."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import socket
from urllib.parse import urlsplit

import httpx
import pytest
import uvicorn
from prometheus_client import CollectorRegistry
from tests.server.served import Service

from skyferry.config.settings import ServerSettings
from skyferry.errors import ConfigError
from skyferry.server import create_app, http_server, serve
from skyferry.server.routers.events import EXAMPLE
from skyferry.status import Readiness


async def test_it_serves_on_the_port_it_reports_and_leaves_signals_alone(service: Service) -> None:
    before = [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)]
    async with serve(create_app(service, ServerSettings(), CollectorRegistry()), "127.0.0.1", 0) as url:
        assert [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)] == before
        async with httpx.AsyncClient(base_url=url) as client:
            assert (await client.post("/v1/events", json=EXAMPLE)).status_code == 202
            assert (await client.get("/health")).headers.get("server") is None
    assert len(service.sent) == 1
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/health")


@pytest.mark.parametrize("path", ["/health", "/ready", "/metrics", "/v1/status", "/docs", "/nowhere", "/v1/events"])
async def test_head_is_answered_as_get_without_the_body(path: str, service: Service) -> None:
    async with (
        serve(create_app(service, ServerSettings(), CollectorRegistry()), "127.0.0.1", 0) as url,
        httpx.AsyncClient(base_url=url) as client,
    ):
        got, head = await client.get(path), await client.head(path)
        assert head.content == b""
        assert head.status_code == got.status_code
        for name in ("content-type", "content-length", "allow"):
            assert head.headers.get(name) == got.headers.get(name)


async def test_a_request_under_way_is_finished_although_no_other_is_taken(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, answer = asyncio.Event(), asyncio.Event()

    async def ready() -> Readiness:
        asked.set()
        await answer.wait()
        return Readiness(())

    async def when_closed(host: str, port: int) -> None:
        with contextlib.suppress(ConnectionError):
            while True:
                _, writer = await asyncio.open_connection(host, port)
                writer.close()
        answer.set()

    monkeypatch.setattr(service, "ready", ready)
    async with httpx.AsyncClient() as client, asyncio.TaskGroup() as tasks:
        async with serve(create_app(service, ServerSettings(), CollectorRegistry()), "127.0.0.1", 0) as url:
            request = tasks.create_task(client.get(f"{url}/ready"))
            await asked.wait()
            tasks.create_task(when_closed("127.0.0.1", urlsplit(url).port or 0))
        assert (await request).status_code == 200


async def test_an_endless_body_is_cut_off(service: Service) -> None:
    settings = ServerSettings(body_limit=1000)
    async with serve(create_app(service, settings, CollectorRegistry()), "127.0.0.1", 0) as url:
        host = urlsplit(url)
        reader, writer = await asyncio.open_connection(host.hostname, host.port)
        writer.write(
            f"POST /v1/events HTTP/1.1\r\nHost: {host.netloc}\r\nContent-Type: application/json\r\n"
            "Transfer-Encoding: chunked\r\n\r\n".encode()
        )
        for _ in range(20):
            writer.write(b"64\r\n" + b" " * 100 + b"\r\n")
        answer = await reader.read()  # to the end: it closes although we have not finished
        writer.close()
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["type"] == "urn:skyferry:problem:body-too-large"


async def test_a_body_of_two_lengths_is_refused_and_brings_no_second_request(service: Service) -> None:
    """A proxy that goes by the other length would have let the second pass as a part of the body."""
    async with serve(create_app(service, ServerSettings(), CollectorRegistry()), "127.0.0.1", 0) as url:
        host = urlsplit(url)
        reader, writer = await asyncio.open_connection(host.hostname, host.port)
        writer.write(
            f"POST /v1/events HTTP/1.1\r\nHost: {host.netloc}\r\nContent-Type: application/json\r\nContent-Length: 60\r\n"
            f"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /metrics HTTP/1.1\r\nHost: {host.netloc}\r\n\r\n".encode()
        )
        answer = await reader.read()
        writer.close()
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["type"] == "urn:skyferry:problem:ambiguous-length"


async def test_the_listener_is_known_to_be_tcp() -> None:
    """Else asyncio leaves Nagle's algorithm on, and every answer waits 40 ms for the client's delayed acknowledgement."""
    with await http_server._listen("127.0.0.1", 0) as listener:
        assert listener.proto == socket.IPPROTO_TCP


async def test_a_port_that_is_taken_is_a_configuration_error(service: Service) -> None:
    application = create_app(service, ServerSettings(), CollectorRegistry())
    async with serve(application, "127.0.0.1", 0) as url:
        with pytest.raises(ConfigError, match="cannot listen"):
            async with serve(application, "127.0.0.1", urlsplit(url).port or 0):
                pass


async def test_an_address_of_another_machine_is_no_port_in_use() -> None:
    """The hint fits the reason. 192.0.2.0/24 is for documentation (RFC 5737)."""
    with pytest.raises(ConfigError, match="cannot listen") as caught:
        await http_server._listen("192.0.2.1", 0)
    assert "an address of this machine" in caught.value.hint


async def test_an_error_inside_ends_it_and_comes_out(service: Service) -> None:
    application = create_app(service, ServerSettings(), CollectorRegistry())
    with pytest.raises(ExceptionGroup, match="unhandled") as caught:
        async with serve(application, "127.0.0.1", 0):
            raise LookupError
    assert caught.group_contains(LookupError)


async def test_an_idle_server_never_wakes_and_ends_at_once(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """uvicorn looks ten times a second whether it should end, and at the time for the Date header."""
    ticks = list[int]()

    async def count(server: uvicorn.Server, counter: int) -> bool:
        ticks.append(counter)
        return server.should_exit

    monkeypatch.setattr(uvicorn.Server, "on_tick", count)
    async with asyncio.timeout(60):
        async with serve(create_app(service, ServerSettings(), CollectorRegistry()), "127.0.0.1", 0):
            await asyncio.sleep(0.3)
    assert ticks == []


async def test_each_response_has_the_date_of_its_request(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    dates = iter(["the first", "the second"])
    monkeypatch.setattr(http_server, "formatdate", lambda time, usegmt: next(dates))
    app = create_app(service, ServerSettings(), CollectorRegistry())
    async with serve(app, "127.0.0.1", 0) as url, httpx.AsyncClient() as client:
        found = [(await client.get(f"{url}/health")).headers["date"] for _ in range(2)]
    assert found == ["the first", "the second"]
