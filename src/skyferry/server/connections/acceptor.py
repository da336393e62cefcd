"""An acceptor with a limit on connections, so that they do not use up the file descriptors of the worker.

It replaces asyncio's server, which has no limit and logs two thousand lines a second while no descriptor is free.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import resource
import socket
from collections.abc import Callable, Collection

from skyferry.server.connections.connection import Connection

SHARE = 4  # connections may use one of this many descriptors
MAX_CONNECTIONS = 256  # however many descriptors there are: each connection may have 128 KiB in memory
EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
PAUSE = 0.1  # seconds until the next try if no descriptor is free or no connection may be closed


def connection_limit(configured: int) -> int:
    """Return the maximum number of connections; `configured` = 0 derives it from the limit on descriptors."""
    if configured:
        return configured
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MAX_CONNECTIONS if soft == resource.RLIM_INFINITY else max(1, min(MAX_CONNECTIONS, soft // SHARE))


class Acceptor:
    """Accepts connections at `listener`. It has the interface of the servers that uvicorn manages."""

    def __init__(self, listener: socket.socket, limit: int) -> None:
        self._listener, self._limit = listener, limit
        self._task: asyncio.Task[None] | None = None

    def start(self, create: Callable[[], Connection], connections: Collection[Connection]) -> None:
        """Start to accept. `connections` must contain each created connection while it is open."""
        self._listener.setblocking(False)
        self._task = asyncio.get_running_loop().create_task(self._run(create, connections), name="http.accept")

    def close(self) -> None:
        """Stop accepting."""
        if self._task is not None:
            self._task.cancel()

    async def wait_closed(self) -> None:
        """Wait until accepting has stopped. Raises the error that stopped it."""
        if self._task is not None:
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _run(self, create: Callable[[], Connection], connections: Collection[Connection]) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                accepted, _ = await loop.sock_accept(self._listener)
            except OSError as error:
                if error.errno in EXHAUSTED:
                    close_oldest(connections)
                    await asyncio.sleep(PAUSE)
                continue  # otherwise the client has disconnected
            try:
                while len(connections) >= self._limit:  # noqa: ASYNC110 - a closed connection leaves in the next cycle of the event loop
                    await asyncio.sleep(0 if close_oldest(connections) else PAUSE)
                await loop.connect_accepted_socket(create, accepted)
            except OSError:
                accepted.close()
            except BaseException:
                accepted.close()
                raise


def close_oldest(connections: Collection[Connection]) -> bool:
    """Close the connection that has waited longest for its client. Return False if none waits for its client.

    Connections without a request are closed before those with a part of one.
    """
    idle = [connection for connection in connections if connection.waiting]
    if not idle:
        return False
    min(idle, key=lambda connection: (connection.serving, connection.since)).abort()
    return True
