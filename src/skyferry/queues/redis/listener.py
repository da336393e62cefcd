"""Wait for new entries of a stream, by a read that blocks and takes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from skyferry.errors import QueueError
from skyferry.ports import Clock
from skyferry.redis.client import RedisClient

BLOCK = 30.0  # seconds of one read
GAP = 0.05  # seconds between reads of a busy stream
FIRST, SLOWEST = 1.0, 30.0  # seconds between attempts after a failure


class StreamListener:
    """Calls `notify` when there are new entries, and after each failure, for some may have been missed."""

    def __init__(self, client: RedisClient[Any], stream: str, notify: Callable[[], None], clock: Clock) -> None:
        self._client, self._stream, self._notify, self._clock = client, stream, notify, clock
        self._task: asyncio.Task[None] | None = None
        self.listening = False

    def start(self) -> None:
        """Listen from now on. Idempotent."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name=f"listen {self._stream}")

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
            except QueueError:  # the commands of the queue report the outage
                self.listening = False
                await self._clock.sleep(pause)
                pause = min(2 * pause, SLOWEST)

    async def _listen(self) -> None:
        """Look once, and wait for an entry after those that are there."""
        newest = await self._client.run(lambda client: client.xrevrange(self._stream, count=1))
        since = {self._stream: newest[0][0] if newest else b"0-0"}
        self.listening = True
        self._notify()
        await self._clock.sleep(GAP)
        await self._client.run(lambda client: client.xread(since, count=1, block=int(BLOCK * 1000)), waits=BLOCK)
