"""New connections to servers with one address and with several."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from typing import Any

import aiohappyeyeballs
import pytest
from tests.clouds.http.raw_server import OK, RawServer, client

from skyferry.errors import ConnectionLost

ZONE = 1  # of the first interface


def resolve_to(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    """Let a name have these addresses."""
    found = socket.getaddrinfo

    def resolve(host: str, port: int, **options: Any) -> Sequence[Any]:
        return [each for address in addresses for each in found(address, port, **options)]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)


async def test_one_address_is_connected_to_directly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(aiohappyeyeballs, "start_connection")
    server = RawServer()
    server.add(server.answer(OK))
    async with server.run() as url, client(url) as http:
        assert (await http.exchange("GET", url, {})).body == b"ok"


@pytest.mark.parametrize("addresses", [("127.0.0.1", "::1"), ("::1", "127.0.0.1")])
async def test_the_address_that_answers_is_used(monkeypatch: pytest.MonkeyPatch, addresses: tuple[str, ...]) -> None:
    """The server listens on one of two."""
    server = RawServer()
    server.add(server.answer(OK))
    async with server.run() as url, client(url) as http:
        resolve_to(monkeypatch, *addresses)
        assert (await http.exchange("GET", url, {})).body == b"ok"


async def test_an_address_of_one_link_keeps_its_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name in a local network may have such an address alone. It cannot be reached without the zone."""
    tried: list[Any] = []
    found, start = socket.getaddrinfo, aiohappyeyeballs.start_connection

    def resolve(host: str, port: int, **options: Any) -> Sequence[Any]:
        return [(*each[:4], ("::1", port, 0, ZONE)) for each in found("::1", port, **options)]

    async def connect(addresses: Sequence[Any], **options: Any) -> socket.socket:
        tried.extend(addresses)
        return await start(addresses, **options)

    server = RawServer()
    server.add(server.answer(OK))
    async with server.run("::1") as url, client(url) as http:
        monkeypatch.setattr(socket, "getaddrinfo", resolve)
        monkeypatch.setattr(aiohappyeyeballs, "start_connection", connect)
        assert (await http.exchange("GET", url, {})).body == b"ok"
    assert [address[4][3] for address in tried] == [ZONE]


async def test_a_refused_connection_names_the_server(unused_tcp_port: int) -> None:
    async with client(url := f"http://127.0.0.1:{unused_tcp_port}/") as http:
        with pytest.raises(
            ConnectionLost, match=rf"^store k: Cannot connect to host 127\.0\.0\.1:{unused_tcp_port} \["
        ) as refused:
            await http.exchange("GET", url, {}, key="k")
    assert not refused.value.sent


async def test_a_cancellation_while_connecting_leaves_no_socket_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its socket would be reported as a ResourceWarning, which is an error here."""
    with socket.socket() as deaf:  # a queue of one connection, which is full
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        port = deaf.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            async with client(url := f"http://127.0.0.1:{port}/") as http:
                asked = asyncio.ensure_future(http.exchange("GET", url, {}))
                await asyncio.sleep(0.05)
                asked.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await asked
