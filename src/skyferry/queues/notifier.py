"""Wakes receivers that wait in the same process."""

from __future__ import annotations

import asyncio

from skyferry.ports import Clock


class Notifier:
    """Wakes all waiting tasks. A notification between reading `count` and `wait` is not missed."""

    def __init__(self) -> None:
        self.count = 0  # of notifications so far
        self._waiting: dict[asyncio.Future[None], None] = {}  # in order, so that simulations can be replayed

    def notify(self) -> None:
        """Wake all waiting tasks."""
        self.count += 1
        for future in self._waiting:
            if not future.done():
                future.set_result(None)

    async def wait(self, count: int, clock: Clock, seconds: float) -> None:
        """Return once there were more than `count` notifications, or after `seconds`."""
        if self.count != count:
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
