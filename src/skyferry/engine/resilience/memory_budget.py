"""Limit the object data in memory."""

from __future__ import annotations

import asyncio
from collections import deque

from skyferry.errors import Unsupported


class MemoryBudget:
    """Bytes of object data in memory. Requests are served in order, so that small ones do not starve a large one."""

    def __init__(self, limit: int, overhead: float = 0.0) -> None:
        """`overhead` is what each byte takes in addition, in buffers of connections and threads. The limit is for both."""
        self.limit, self._overhead = limit, overhead
        self._used = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    def take_now(self, size: int) -> bool:
        """Take `size` bytes if they are free and nothing waits. Return True if they are taken. Raises Unsupported."""
        if size > self.limit:
            raise Unsupported(
                f"{size} bytes are needed at once, the memory limit is {self.limit}", hint="raise limits.memory"
            )
        cost = self._cost(size)
        if self._waiting or self._used + cost > self.limit:
            return False
        self._used += cost
        return True

    async def take(self, size: int) -> None:
        """Wait for `size` bytes; return them with `give`. Raises Unsupported if they exceed the limit.

        A task that has some MUST NOT wait for more.
        """
        if self.take_now(size):
            return
        size = self._cost(size)
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
        """Return what `take` has taken."""
        self._free(self._cost(size))

    def _cost(self, size: int) -> int:
        """A request that fits only when its overhead is ignored is granted the whole budget."""
        return min(self.limit, size + int(size * self._overhead))

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


class Reservation:
    """Memory of one transfer, freed at the end of the `with` block."""

    def __init__(self, budget: MemoryBudget) -> None:
        self._budget, self._size = budget, 0

    async def resize(self, size: int) -> None:
        """Free what is reserved, then wait for `size` bytes. Raises Unsupported."""
        self.free()
        if not self._budget.take_now(size):
            await self._budget.take(size)
        self._size = size

    def free(self) -> None:
        """Return the memory early."""
        if self._size:
            self._budget.give(self._size)
            self._size = 0

    def __enter__(self) -> Reservation:
        return self

    def __exit__(self, *_: object) -> None:
        self.free()
