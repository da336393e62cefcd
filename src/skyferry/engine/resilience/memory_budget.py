"""Limit the object data in memory."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from skyferry.errors import Unsupported


class MemoryBudget:
    """Bytes of object data in memory. First come, first served, so that a large request is not starved by small ones."""

    def __init__(self, limit: int, beside: float = 0.0) -> None:
        """`beside` is what every byte takes besides itself, in buffers of connections and threads; the limit is for both."""
        self.limit, self._beside = limit, beside
        self._used = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def reserve(self, size: int) -> AsyncIterator[None]:
        """Hold `size` bytes. Raises Unsupported if they can never be had. Do not wait for more while holding some."""
        await self.take(size)
        try:
            yield
        finally:
            self.give(size)

    async def take(self, size: int) -> None:
        """Like `reserve`, to be given back by `give`."""
        if size > self.limit:
            raise Unsupported(
                f"{size} bytes are needed at once, the memory limit is {self.limit}", hint="raise limits.memory"
            )
        size = self._cost(size)
        if not self._waiting and self._used + size <= self.limit:
            self._used += size
            return
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((size, place))
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self._free(size)
            else:
                self._hand_out()
            raise

    def give(self, size: int) -> None:
        """Give back what `take` took."""
        self._free(self._cost(size))

    def _cost(self, size: int) -> int:
        """One request that the limit has room for without what is beside it has it alone."""
        return min(self.limit, size + int(size * self._beside))

    def _free(self, cost: int) -> None:
        self._used -= cost
        self._hand_out()

    def _hand_out(self) -> None:
        while self._waiting:
            size, place = self._waiting[0]
            if place.done():  # cancelled
                self._waiting.popleft()
                continue
            if self._used + size > self.limit:
                return
            self._waiting.popleft()
            self._used += size
            place.set_result(None)
