"""Wakes receivers that wait in the same process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import inf

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

    async def wait(
        self,
        count: int,
        clock: Clock,
        seconds: float,
        look: Callable[[], bool] = lambda: False,
        pace: float = inf,
    ) -> None:
        """Return once there were more than `count` notifications, or after `seconds`.

        Return also once `look` is True. It is called now, and every `pace` seconds.
        """
        if self.count != count or look():
            return
        future = asyncio.get_running_loop().create_future()
        sleeper = asyncio.create_task(_sleep(clock, seconds, look, pace), name="queue-wait")
        sleeper.add_done_callback(lambda ended: _end_wait(future, ended))
        self._waiting[future] = None
        try:
            await future
        finally:
            del self._waiting[future]
            sleeper.cancel()  # nothing waits for its end: the caller has been woken, and has work


async def _sleep(clock: Clock, seconds: float, look: Callable[[], bool], pace: float) -> None:
    """Sleep for `seconds`, or until a look is True."""
    end = clock.monotonic() + seconds
    while (left := end - clock.monotonic()) > pace:
        await clock.sleep(pace)
        if look():
            return
    await clock.sleep(left)


def _end_wait(future: asyncio.Future[None], sleeper: asyncio.Task[None]) -> None:
    """Wake the task that waits, and pass on an error of its `look`."""
    if sleeper.cancelled() or future.done():
        return
    if error := sleeper.exception():
        future.set_exception(error)
    else:
        future.set_result(None)
