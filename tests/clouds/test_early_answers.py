"""A server answers before it has taken the whole body, and takes the rest late: the answer is what counts.

This is about requests that go through aiohttp; tests/clouds/http has those that do not.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import Any

import aiohttp
import pytest

from skyferry.clouds.http import Http, Limits

BODY = 8 * 2**20  # bytes, more than the buffers of a connection take


class EarlyServer(threading.Thread):
    """Refuses one request at once, and takes what was sent of its body when `go` is set."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/key"
        self.begun, self.go = threading.Event(), threading.Event()  # `begun`: the client has read the first part
        self.taken = 0

    def run(self) -> None:
        connection, _ = self._listener.accept()
        with connection, self._listener:
            connection.recv(2**16)
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 4\r\n\r\nno")
            self.begun.wait()
            connection.sendall(b"pe")
            self.go.wait()
            try:
                while data := connection.recv(2**20):
                    self.taken += len(data)
            except ConnectionError:
                return


@pytest.mark.parametrize("flushed", [True, False])
async def test_an_early_answer_is_returned_whatever_the_server_takes(
    flushed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Either the closing connection sends the rest of its buffer meanwhile, and is gone; or nothing more is sent on it."""
    server = EarlyServer()
    start, leave = aiohttp.ClientResponse.start, aiohttp.ClientResponse.__aexit__
    transports: list[asyncio.Transport] = []

    async def start_noted(response: aiohttp.ClientResponse, connection: Any) -> aiohttp.ClientResponse:
        transports.append(connection.transport)
        started = await start(response, connection)
        asyncio.get_running_loop().call_later(0.1, server.begun.set)  # the body fills all buffers in the meantime
        return started

    async def leave_slowly(response: aiohttp.ClientResponse, *error: Any) -> None:
        await leave(response, *error)
        [transport] = transports
        assert transport.is_closing()
        assert transport.get_write_buffer_size()
        if flushed:
            server.go.set()
            while transport.get_write_buffer_size():
                await asyncio.sleep(0)

    monkeypatch.setattr("skyferry.clouds.http.client.encode_request", lambda *_: None)  # as if it were unusual
    monkeypatch.setattr(aiohttp.ClientResponse, "start", start_noted)
    monkeypatch.setattr(aiohttp.ClientResponse, "__aexit__", leave_slowly)
    server.start()
    http = Http("store", server.url, Limits(), direct=True)
    answer = await http.exchange("PUT", server.url, {}, bytes(BODY))
    await http.close()
    server.go.set()
    await asyncio.to_thread(server.join)
    assert (answer.status, answer.body) == (400, b"nope")
    assert server.taken < BODY
