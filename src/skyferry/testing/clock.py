"""A clock that the test advances."""

from __future__ import annotations

import asyncio
import heapq
from itertools import count
from math import inf, nextafter


class ManualClock:
    """A `Clock` whose time passes only in `advance`. Sleepers wake in the order of their times."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        """Start at `now`, in seconds since 1970."""
        self._now = self._start = now
        self._order = count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def time(self) -> float:
        """See `Clock`."""
        return self._now

    def monotonic(self) -> float:
        """See `Clock`."""
        return self._now - self._start

    async def sleep(self, seconds: float) -> None:
        """See `Clock`."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        future = asyncio.get_running_loop().create_future()
        end = max(self._now + seconds, nextafter(self._now, inf))  # a clock never stands still
        heapq.heappush(self._sleepers, (end, next(self._order), future))
        await future

    async def advance(self, seconds: float) -> None:
        """Advance the time. Each woken sleeper runs until it sleeps again or waits for something else."""
        end = self._now + seconds
        await self._settle()
        while self._sleepers and self._sleepers[0][0] <= end:
            self._now, _, future = heapq.heappop(self._sleepers)
            if not future.done():
                future.set_result(None)
                await self._settle()
        self._now = end
        await self._settle()

    async def _settle(self) -> None:
        for _ in range(10):
            await asyncio.sleep(0)
