"""Limit the transfers that run at the same time; the most urgent run first."""

from __future__ import annotations

import asyncio
import heapq


class Lane:
    """At most `size` at the same time; the lowest rank next."""

    def __init__(self, size: int) -> None:
        self._free = size
        self._waiting: list[tuple[float, int, asyncio.Future[None]]] = []
        self._count = 0

    async def acquire(self, rank: float) -> None:
        """Wait for a place. Rank is a time: being urgent is having come earlier, so nobody waits for ever."""
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
                self.release()  # the place was given and is not used
            raise

    def release(self) -> None:
        """Give the place to the next."""
        while self._waiting:
            place = heapq.heappop(self._waiting)[2]
            if not place.done():
                place.set_result(None)
                return
        self._free += 1


class Slot:
    """One transfer's place: in the lane of the small, until it turns out to be large."""

    def __init__(self, small: Lane, large: Lane, rank: float) -> None:
        self._lane, self._large, self._rank = small, large, rank

    async def __aenter__(self) -> Slot:
        await self._lane.acquire(self._rank)
        return self

    async def enlarge(self) -> None:
        """Move to the lane of the large, so that the small go on."""
        small, self._lane = self._lane, _NO_LANE
        small.release()
        await self._large.acquire(self._rank)
        self._lane = self._large

    async def __aexit__(self, *_: object) -> None:
        self._lane.release()


_NO_LANE = Lane(0)  # where a transfer is while it changes lanes; releasing it frees nobody
