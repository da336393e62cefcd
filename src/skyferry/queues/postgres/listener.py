"""LISTEN on one channel, on a connection of its own that is made again after a failure."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from skyferry.errors import SkyferryError
from skyferry.ports import Clock
from skyferry.postgres.errors import FAILURES
from skyferry.postgres.pool import PostgresPool
from skyferry.queues.listener import FIRST, Listener

CHECK = 60.0  # seconds between checks that notifications arrive
PATIENCE = 5.0  # seconds for one


class ChannelListener(Listener):
    """Calls `notify` for each notification, and after each connection.

    It is `listening` only while notifications arrive. A pooler in transaction mode drops them, and a firewall forgets a connection
    without traffic: neither ends it.
    """

    failures = (SkyferryError, *FAILURES)

    def __init__(self, pool: PostgresPool[Any], channel: str, notify: Callable[[], None], clock: Clock) -> None:
        super().__init__(channel, notify, clock)
        self._pool, self._channel = pool, channel
        self._probe = f"{channel}_{secrets.token_hex(8)}"  # a channel of this process

    async def _listen(self) -> None:
        """Listen until the connection ends. Raises TimeoutError if a notification does not arrive."""
        connection = await self._pool.connect()
        ended, arrived = asyncio.Event(), asyncio.Event()
        try:
            connection.add_termination_listener(lambda _: ended.set())
            await connection.add_listener(self._channel, lambda *_: self._notify())
            await connection.add_listener(self._probe, lambda *_: arrived.set())
            while not ended.is_set():
                arrived.clear()
                await self._pool.run(lambda other: other.execute("SELECT pg_notify($1, '')", self._probe))
                async with asyncio.timeout(PATIENCE):
                    await arrived.wait()
                if not self.listening:
                    self.listening = True
                    self._notify()
                with suppress(TimeoutError):
                    async with asyncio.timeout(CHECK):
                        await ended.wait()
        finally:
            self.listening = False
            connection.terminate()
        await self._clock.sleep(FIRST)
