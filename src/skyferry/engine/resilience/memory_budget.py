"""Limit the object data in memory."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import field

from skyferry.engine.resilience.shares import find_share
from skyferry.errors import Unsupported
from skyferry.frozen import dataclass


class MemoryBudget:
    """Bytes of object data in memory, shared by pairs of stores.

    One pair cannot take all, or a slow store would stop the copies between all others.
    """

    def __init__(self, limit: int, overhead: float = 0.0, pairs: int = 1) -> None:
        """`overhead` is what each byte takes in addition, in buffers of connections and threads. The limit is for both.

        `pairs` is the number of pairs of stores that may need some. One alone may take all.
        """
        self.limit, self._overhead, self._pairs = limit, overhead, pairs
        self._used = self._count = 0
        self._shares: dict[tuple[str, str], MemoryShare] = {}
        self._asking = set[MemoryShare]()  # those with requests that wait: there may be hundreds of others

    def share(self, source: str, destination: str) -> MemoryShare:
        """Return the memory of the transfers between two stores."""
        if (share := self._shares.get((source, destination))) is None:
            share = self._shares[source, destination] = MemoryShare(self)
        return share

    def find_cost(self, size: int) -> int:
        """Return the cost of `size` bytes: with their overhead, at most the whole budget. Raises Unsupported."""
        if size > self.limit:
            raise Unsupported(
                f"{size} bytes are needed at once, the memory limit is {self.limit}", hint="raise limits.memory"
            )
        return min(self.limit, size + int(size * self._overhead))

    def take_now(self, share: MemoryShare, cost: int) -> bool:
        """Take `cost` bytes for a share if they are free and no request waits. Return True if they are taken."""
        if self._asking or not self._fits(share, cost):
            return False
        self._use(share, cost)
        return True

    def enqueue(self, share: MemoryShare, cost: int) -> asyncio.Future[None]:
        """Return a future that is done once `cost` bytes are taken for a share."""
        self._count += 1
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        share.waiting.append((self._count, cost, place))
        self._asking.add(share)
        self.hand_out()
        return place

    def free(self, share: MemoryShare, cost: int) -> None:
        """Return `cost` bytes of a share."""
        self._use(share, -cost)
        self.hand_out()

    def hand_out(self) -> None:
        """Serve the requests that wait."""
        while self._serve_next():
            pass

    def _serve_next(self) -> bool:
        """Serve the first request whose share may take its cost. Return False if there is none."""
        self._asking = {each for each in self._asking if each.next}
        for share in sorted(self._asking, key=lambda each: each.next):
            _, cost, place = share.waiting[0]
            if self._fits(share, cost):
                share.waiting.popleft()
                self._use(share, cost)
                place.set_result(None)
                return True
            if not share.used:
                return False  # or the requests of others would starve one that is large
        return False

    def _fits(self, share: MemoryShare, cost: int) -> bool:
        free = self.limit - self._used
        return cost <= free and (not share.used or cost <= find_share(free, share.used, self._pairs))

    def _use(self, share: MemoryShare, change: int) -> None:
        self._used += change
        share.used += change


@dataclass(eq=False, slots=True)
class MemoryShare:
    """The memory of the transfers between two stores. Its requests are served in order, so that large ones do not starve."""

    _budget: MemoryBudget
    used: int = 0
    waiting: deque[tuple[int, int, asyncio.Future[None]]] = field(default_factory=deque)  # order, cost, its result

    @property
    def next(self) -> int:
        """The place of its first request that waits, in the order of all requests, from 1; 0 = none waits."""
        while self.waiting and self.waiting[0][2].done():  # cancelled
            self.waiting.popleft()
        return self.waiting[0][0] if self.waiting else 0

    def take_now(self, size: int) -> bool:
        """Take `size` bytes if they are free and nothing waits. Return True if they are taken. Raises Unsupported."""
        return self._budget.take_now(self, self._budget.find_cost(size))

    async def take(self, size: int) -> None:
        """Wait for `size` bytes; return them with `give`. Raises Unsupported if they exceed the limit.

        A task that has some MUST NOT wait for more.
        """
        cost = self._budget.find_cost(size)
        if self._budget.take_now(self, cost):
            return
        place = self._budget.enqueue(self, cost)
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self._budget.free(self, cost)
            else:
                self._budget.hand_out()
            raise

    def give(self, size: int) -> None:
        """Return what `take` has taken."""
        self._budget.free(self, self._budget.find_cost(size))


class Reservation:
    """Memory of one transfer, freed at the end of the `with` block."""

    def __init__(self, share: MemoryShare) -> None:
        self._share, self._size = share, 0

    async def resize(self, size: int) -> None:
        """Free what is reserved, then wait for `size` bytes. Raises Unsupported."""
        self.free()
        if not self._share.take_now(size):
            await self._share.take(size)
        self._size = size

    def free(self) -> None:
        """Return the memory early."""
        if self._size:
            self._share.give(self._size)
            self._size = 0

    def __enter__(self) -> Reservation:
        return self

    def __exit__(self, *_: object) -> None:
        self.free()
