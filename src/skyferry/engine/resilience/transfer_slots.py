"""Limit the transfers that run at the same time; the most urgent run first."""

from __future__ import annotations

import asyncio
import heapq


class PrioritySemaphore:
    """Admits at most `size` holders at the same time, the lowest rank first."""

    def __init__(self, size: int) -> None:
        self._free = size
        self._waiting: list[tuple[float, int, asyncio.Future[None]]] = []
        self._count = 0

    async def acquire(self, rank: float) -> None:
        """Wait for a place. A rank is a time, and urgency an earlier one, so no waiter starves."""
        if self._free > 0:
            self._free -= 1
            return
        self._count += 1
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (rank, self._count, place))
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self.release()  # the place was granted and is not used
            raise

    def release(self) -> None:
        """Pass the place to the next waiter."""
        while self._waiting:
            place = heapq.heappop(self._waiting)[2]
            if not place.done():
                place.set_result(None)
                return
        self._free += 1


class TransferSlot:
    """The place of one transfer: among the small ones, until it is promoted to the large ones."""

    def __init__(self, small: PrioritySemaphore, large: PrioritySemaphore, rank: float) -> None:
        self._semaphore, self._large, self._rank = small, large, rank

    async def __aenter__(self) -> TransferSlot:
        await self._semaphore.acquire(self._rank)
        return self

    async def promote(self) -> None:
        """Move to the large transfers, so that small ones can start in the meantime."""
        small, self._semaphore = self._semaphore, _NONE
        small.release()
        await self._large.acquire(self._rank)
        self._semaphore = self._large

    async def __aexit__(self, *_: object) -> None:
        self._semaphore.release()


_NONE = PrioritySemaphore(0)  # for a transfer between the two; its release frees no place
