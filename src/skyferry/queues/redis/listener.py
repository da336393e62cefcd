"""Wait for new entries of a stream, by a read that blocks and takes nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from skyferry.errors import QueueError
from skyferry.ports import Clock
from skyferry.queues.listener import Listener
from skyferry.redis.client import RedisClient

BLOCK = 30.0  # seconds of one read
GAP = 0.05  # seconds between reads of a busy stream


class StreamListener(Listener):
    """Calls `notify` when there are new entries, and after each failure."""

    failures = (QueueError,)

    def __init__(self, client: RedisClient[Any], stream: str, notify: Callable[[], None], clock: Clock) -> None:
        super().__init__(stream, notify, clock)
        self._client, self._stream = client, stream

    async def _listen(self) -> None:
        """Look once, and wait for an entry after those that are there."""
        newest = await self._client.run(lambda client: client.xrevrange(self._stream, count=1))
        since = {self._stream: newest[0][0] if newest else b"0-0"}
        self.listening = True
        self._notify()
        await self._clock.sleep(GAP)
        await self._client.run(lambda client: client.xread(since, count=1, block=int(BLOCK * 1000)), waits=BLOCK)
