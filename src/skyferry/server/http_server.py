"""The HTTP server in the event loop of the service. It handles no signals."""

from __future__ import annotations

import asyncio
import errno
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from email.utils import formatdate
from typing import cast

import uvicorn
from starlette.types import ASGIApp
from uvicorn.server import ServerState

from skyferry.config.settings import ServerSettings
from skyferry.errors import ConfigError
from skyferry.server.connections.acceptor import Acceptor, connection_limit
from skyferry.server.connections.connection import Connection

GRACE = 5  # seconds for active requests when the server stops
DEFAULTS = ServerSettings()


class _State(ServerState):
    """Dates each response when its request comes. uvicorn does it once a second, which wakes an idle process up."""

    @property
    def default_headers(self) -> list[tuple[bytes, bytes]]:
        return [(b"date", formatdate(time.time(), usegmt=True).encode())]

    @default_headers.setter
    def default_headers(self, headers: list[tuple[bytes, bytes]]) -> None:
        """Ignore the empty list of the base class."""


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, acceptor: Acceptor, patience: float) -> None:
        super().__init__(config)
        self.server_state = _State()
        self.ready, self.stopping = asyncio.Event(), asyncio.Event()
        self._acceptor, self._patience = acceptor, patience

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    def stop(self) -> None:
        """Accept no more connections, and end."""
        self.should_exit = True
        self.stopping.set()

    async def main_loop(self) -> None:
        """Wait for `stop`. uvicorn's loop looks ten times a second if it should exit."""
        await self.stopping.wait()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        def create_connection() -> Connection:
            return Connection(self.config, self.server_state, self._patience)

        await self.lifespan.startup()
        self.servers = [self._acceptor]  # type: ignore[list-item]  # uvicorn calls only close and wait_closed
        connections = cast(set[Connection], self.server_state.connections)  # the base class has a wider type
        self._acceptor.start(create_connection, connections)
        self.started = True
        self.ready.set()


@asynccontextmanager
async def serve(app: ASGIApp, host: str, port: int, settings: ServerSettings = DEFAULTS) -> AsyncIterator[str]:
    """Serve `app` inside the context, and yield the URL with the actual port. Raises ConfigError if it cannot listen.

    `settings` bound the number of connections and the time in which each must send a request. On exit the server accepts no
    more connections, and active requests may finish within five seconds.
    """
    listener = await _listen(host, port)
    config = uvicorn.Config(
        app,
        http="h11",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=GRACE,
    )
    server = _Server(config, Acceptor(listener, connection_limit(settings.connections)), settings.patience)
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(server.serve(sockets=[listener]), name="http")
            await server.ready.wait()
            try:
                yield f"http://{_format_host(host)}:{listener.getsockname()[1]}"
            finally:
                server.stop()
    finally:
        listener.close()


_HINTS = {
    errno.EADDRINUSE: "stop the program that uses the port, or choose another port with --listen",
    errno.EACCES: "choose a port above 1023 with --listen, or allow this program to open it",
    errno.EADDRNOTAVAIL: "choose an address of this machine with --listen",
}


async def _listen(host: str, port: int) -> socket.socket:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return _open_listener(*found[0])
    except OSError as error:
        reason = error.strerror or error
        hint = _HINTS.get(error.errno or 0, "check the host and the port of --listen")
        raise ConfigError(
            f"cannot listen on {_format_host(host)}:{port}: {reason}", where="server.listen", hint=hint
        ) from error


def _open_listener(family: int, kind: int, protocol: int, name: str, address: tuple[str, int]) -> socket.socket:
    """Open a listener with an explicit protocol. Without one, asyncio leaves Nagle's delay of 40 ms per response on."""
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(1024)
    except BaseException:
        listener.close()
        raise
    return listener


def _format_host(host: str) -> str:
    return f"[{host}]" if ":" in host else host
