"""Takes connections, no more than the server may have: the worker's descriptors are not for them.

In place of asyncio's own server, which knows no bound, and writes two thousand lines a second while there are no descriptors.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import resource
import socket
from collections.abc import Callable, Collection

from skyferry.server.connections.connection import Connection

SHARE = 4  # the part of the descriptors that connections may have: a quarter
MOST = 256  # connections, however many descriptors there are: each may have 128 KiB in memory
EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
PAUSE = 0.1  # seconds until it is tried again where there is no descriptor, or nothing that may be closed


def bound(configured: int) -> int:
    """Return how many connections there may be at once."""
    if configured:
        return configured
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST if soft == resource.RLIM_INFINITY else max(1, min(MOST, soft // SHARE))


class Acceptor:
    """Accepts at `listener` while `run` runs; stands among uvicorn's servers."""

    def __init__(self, listener: socket.socket, most: int) -> None:
        self._listener, self._most = listener, most
        self._task: asyncio.Task[None] | None = None

    def start(self, make: Callable[[], Connection], connections: Collection[Connection]) -> None:
        """Accept from now on; whatever is made is in `connections` while it is open."""
        self._listener.setblocking(False)
        self._task = asyncio.get_running_loop().create_task(self._run(make, connections), name="http.accept")

    def close(self) -> None:
        """Take no more."""
        if self._task is not None:
            self._task.cancel()

    async def wait_closed(self) -> None:
        """Return once none is taken any more. Raises what ended it."""
        if self._task is not None:
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _run(self, make: Callable[[], Connection], connections: Collection[Connection]) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                accepted, _ = await loop.sock_accept(self._listener)
            except OSError as error:
                if error.errno in EXHAUSTED:
                    close_oldest(connections)
                    await asyncio.sleep(PAUSE)
                continue  # else the client has gone again
            try:
                while len(connections) >= self._most:  # noqa: ASYNC110 - what is closed is gone in the loop's next round
                    await asyncio.sleep(0 if close_oldest(connections) else PAUSE)
                await loop.connect_accepted_socket(make, accepted)
            except OSError:
                accepted.close()
            except BaseException:
                accepted.close()
                raise


def close_oldest(connections: Collection[Connection]) -> bool:
    """Close the connection that has kept us waiting the longest; False if all of them wait for us.

    One without a request comes before one with a part of it: a client that has something to say says it at once.
    """
    idle = [each for each in connections if each.waiting]
    if not idle:
        return False
    min(idle, key=lambda each: (each.served, each.since)).abort()
    return True
