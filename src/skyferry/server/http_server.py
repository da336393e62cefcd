"""Serving the application inside our own event loop; signals are somebody else's business."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import cast

import uvicorn
from starlette.types import ASGIApp

from skyferry.config.settings import ServerSettings
from skyferry.errors import ConfigError
from skyferry.server.connections.acceptor import Acceptor, bound
from skyferry.server.connections.connection import Connection

GRACE = 5  # seconds for requests under way when it stops
DEFAULTS = ServerSettings()


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, acceptor: Acceptor, patience: float) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()
        self._acceptor, self._patience = acceptor, patience

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        def make() -> Connection:
            return Connection(self.config, self.server_state, self._patience)

        await self.lifespan.startup()
        self.servers = [self._acceptor]  # type: ignore[list-item]  # it has what uvicorn calls: close and wait_closed
        connections = cast(set[Connection], self.server_state.connections)  # the base class knows its own
        self._acceptor.start(make, connections)
        self.started = True
        self.ready.set()


@asynccontextmanager
async def serve(app: ASGIApp, host: str, port: int, settings: ServerSettings = DEFAULTS) -> AsyncIterator[str]:
    """Serve while inside; gives the URL, with the port that port 0 was given. Raises ConfigError if it cannot listen.

    Connections, and how long each may take to send a request, are bounded by `settings`. At the end it takes no more and lets
    requests finish, for five seconds at most.
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
    server = _Server(config, Acceptor(listener, bound(settings.connections)), settings.patience)
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(server.serve(sockets=[listener]), name="http")
            await server.ready.wait()
            try:
                yield f"http://{_shown(host)}:{listener.getsockname()[1]}"
            finally:
                server.should_exit = True
    finally:
        listener.close()


async def _listen(host: str, port: int) -> socket.socket:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return _bound(*found[0])
    except OSError as error:
        reason = error.strerror or error
        hint = "another program may be using the port"
        raise ConfigError(
            f"cannot listen on {_shown(host)}:{port}: {reason}", where="server.listen", hint=hint
        ) from error


def _bound(family: int, kind: int, protocol: int, name: str, address: tuple[str, int]) -> socket.socket:
    """`socket.create_server` leaves the protocol out, and then asyncio leaves Nagle's delay in: 40 ms per answer."""
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(1024)
    except BaseException:
        listener.close()
        raise
    return listener


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host
