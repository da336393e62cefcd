"""What the queues of our own share: the order of messages, and how a receiver waits."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import MappingProxyType

from skyferry.model import Priority
from skyferry.ports import Clock

# A message's rank is the time it was sent, less its head start; the smallest rank goes first. So a high one overtakes
# what was sent in the hour before it, a low one lets pass what is sent in the hour after it, and nothing waits for ever.
HEAD_START: Mapping[Priority, float] = MappingProxyType(
    {Priority.HIGH: 3600.0, Priority.NORMAL: 0.0, Priority.LOW: -3600.0}
)


class Bell:
    """Wakes everybody who waits. A ring between `rung` being read and the wait is not missed."""

    def __init__(self) -> None:
        self.rung = 0  # how often
        self._waiting: dict[asyncio.Future[None], None] = {}  # in order, so that runs can be replayed

    def ring(self) -> None:
        """Wake them."""
        self.rung += 1
        for future in self._waiting:
            if not future.done():
                future.set_result(None)

    async def wait(self, rung: int, clock: Clock, seconds: float) -> None:
        """Return once the bell has rung more than `rung` times, or after `seconds`."""
        if self.rung != rung:
            return
        future = asyncio.get_running_loop().create_future()
        sleeper = asyncio.create_task(clock.sleep(seconds), name="queue-wait")
        self._waiting[future] = None
        try:
            await asyncio.wait((future, sleeper), return_when=asyncio.FIRST_COMPLETED)
        finally:
            del self._waiting[future]
            sleeper.cancel()
            await asyncio.wait((sleeper,))
