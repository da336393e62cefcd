"""LISTEN on one channel, on a connection of its own that is made again after a failure."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from skyferry.errors import SkyferryError
from skyferry.ports import Clock
from skyferry.postgres.errors import FAILURES
from skyferry.postgres.pool import PostgresPool

FIRST, SLOWEST = 1.0, 30.0  # seconds between attempts to connect


class ChannelListener:
    """Calls `notify` for each notification, and after each connection, for some may have been missed before it."""

    def __init__(self, pool: PostgresPool[Any], channel: str, notify: Callable[[], None], clock: Clock) -> None:
        self._pool, self._channel, self._notify, self._clock = pool, channel, notify, clock
        self._task: asyncio.Task[None] | None = None
        self.listening = False

    def start(self) -> None:
        """Listen from now on. Idempotent."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name=f"listen {self._channel}")

    async def close(self) -> None:
        """Stop. Idempotent."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))

    async def _run(self) -> None:
        pause = FIRST
        while True:
            try:
                await self._listen()
                pause = FIRST
            except (SkyferryError, *FAILURES):  # the statements of the queue report the outage
                pause = min(2 * pause, SLOWEST)
            await self._clock.sleep(pause)

    async def _listen(self) -> None:
        """Listen until the connection ends."""
        connection = await self._pool.connect()
        ended = asyncio.Event()
        try:
            connection.add_termination_listener(lambda _: ended.set())
            await connection.add_listener(self._channel, lambda *_: self._notify())
            self.listening = True
            self._notify()
            await ended.wait()
        finally:
            self.listening = False
            connection.terminate()
