"""Limit the transfers that run at the same time; the most urgent run first."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Mapping

from skyferry.engine.concurrency.concurrency_limit import ConcurrencyLimit
from skyferry.ports import Clock

MESSAGES = 3  # messages for each transfer that may run, because others are being claimed and settled meanwhile


class PrioritySemaphore:
    """Admits at most `size` holders at the same time, the lowest rank first."""

    def __init__(self, size: int) -> None:
        self.size, self.used = size, 0
        self._waiting: list[tuple[float, int, asyncio.Future[None]]] = []
        self._count = 0

    async def acquire(self, rank: float) -> None:
        """Wait for a place. A rank is a time, and urgency an earlier one, so no waiter starves."""
        if self.has_room():
            self.use(1)
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
        """Pass the place to the next waiters."""
        self.use(-1)
        while self.next_rank is not None and self.has_room():
            self.admit_next()

    def has_room(self) -> bool:
        """Return True if a holder can be admitted now."""
        return self.used < self.size

    def use(self, change: int) -> None:
        """Count places that are taken, or given back."""
        self.used += change

    @property
    def next_rank(self) -> float | None:
        """The rank of the next waiter; None = there is none."""
        while self._waiting and self._waiting[0][2].done():  # cancelled
            heapq.heappop(self._waiting)
        return self._waiting[0][0] if self._waiting else None

    def admit_next(self) -> None:
        """Admit the next waiter."""
        heapq.heappop(self._waiting)[2].set_result(None)
        self.use(1)


class TransferSlots:
    """The places of transfers: of small ones, for each pair of stores as many as both can use, and `most` in all."""

    def __init__(self, most: int, large: int, limits: Mapping[str, ConcurrencyLimit], clock: Clock) -> None:
        """`large` is the number of large transfers of each pair. `limits` are by store. A store without one takes `most`."""
        self.most, self.used, self.large = most, 0, large
        self._limits, self._clock = limits, clock
        self._pairs: dict[tuple[str, str], PairSlots] = {}

    def for_pair(self, source: str, destination: str) -> PairSlots:
        """Return the places of the transfers between two stores."""
        if (pair := self._pairs.get((source, destination))) is None:
            limits = [limit for store in dict.fromkeys((source, destination)) if (limit := self._limits.get(store))]
            pair = self._pairs[source, destination] = PairSlots(self, limits, self._clock)
        return pair

    def count_messages(self) -> int:
        """Return the number of messages that keep all places in use."""
        return MESSAGES * min(self.most, sum(pair.find_size() for pair in self._pairs.values()))

    def admit_others(self) -> None:
        """Admit the next waiters of all pairs: one pair has freed a place of all."""
        while ready := [pair for pair in self._pairs.values() if pair.next_rank is not None and pair.has_room()]:
            min(ready, key=lambda pair: pair.next_rank or 0.0).admit_next()


class PairSlots(PrioritySemaphore):
    """The places of transfers between two stores.

    A small transfer makes one request at a time, to one of its stores. Therefore the pair has the places of both together. A
    store that throttles limits all of its transfers.
    """

    def __init__(self, slots: TransferSlots, limits: list[ConcurrencyLimit], clock: Clock) -> None:
        super().__init__(slots.most)
        self.large = PrioritySemaphore(slots.large)  # of its own, because a slow store would keep those of others
        self._slots, self._limits, self._clock = slots, limits, clock

    def find_size(self) -> int:
        """Return the number of places at this time."""
        if not self._limits:
            return self.size
        now, places, ceiling = self._clock.monotonic(), 0, float(self.size)
        for limit in self._limits:
            places += limit.value(now)
            ceiling = min(ceiling, limit.ceiling)
        return max(1, int(min(places, ceiling)))

    def has_room(self) -> bool:
        if self.used < self.find_size() and self._slots.used < self._slots.most:
            return True
        for limit in self._limits:
            limit.wanted = max(limit.wanted, self.used)
        return False

    def use(self, change: int) -> None:
        self.used += change
        self._slots.used += change

    def release(self) -> None:
        was_full = self._slots.used >= self._slots.most
        super().release()
        if was_full:
            self._slots.admit_others()


class TransferSlot:
    """The place of one transfer: among the small ones, until it is promoted to the large ones."""

    def __init__(self, small: PrioritySemaphore, large: PrioritySemaphore, rank: float) -> None:
        self._semaphore, self._large, self._rank = small, large, rank

    @classmethod
    async def take(cls, small: PrioritySemaphore, large: PrioritySemaphore, rank: float) -> TransferSlot:
        """Wait for a small place. Use the result in a `with` block, which gives the place back."""
        await small.acquire(rank)
        return cls(small, large, rank)

    def __enter__(self) -> TransferSlot:
        return self

    async def promote(self) -> None:
        """Move to the large transfers, so that small ones can start in the meantime."""
        small, self._semaphore = self._semaphore, _NONE
        small.release()
        await self._large.acquire(self._rank)
        self._semaphore = self._large

    def __exit__(self, *_: object) -> None:
        self._semaphore.release()


_NONE = PrioritySemaphore(0)  # for a transfer between the two; its release frees no place
