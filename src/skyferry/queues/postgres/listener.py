"""LISTEN on one channel, on a connection of its own that is made again after a failure."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from skyferry.errors import SkyferryError
from skyferry.ports import Clock
from skyferry.postgres.errors import FAILURES
from skyferry.postgres.pool import PostgresPool
from skyferry.queues.listener import FIRST, Listener


class ChannelListener(Listener):
    """Calls `notify` for each notification, and after each connection."""

    failures = (SkyferryError, *FAILURES)

    def __init__(self, pool: PostgresPool[Any], channel: str, notify: Callable[[], None], clock: Clock) -> None:
        super().__init__(channel, notify, clock)
        self._pool, self._channel = pool, channel

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
        await self._clock.sleep(FIRST)
