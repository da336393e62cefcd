"""What a worker may take: lanes (how many at once, the urgent first), memory, rates, and a breaker per store."""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum

from skyferry.errors import Unsupported
from skyferry.ports import Clock


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


class RateLimiter:
    """So many units a second, with a burst of one second. A debt is allowed, so that one large request can pass."""

    def __init__(self, rate: float, clock: Clock) -> None:
        self._rate, self._clock = rate, clock
        self._ready_at = 0.0
        self.waiting = 0

    async def take(self, units: float) -> float:
        """Wait until the units are due; returns the seconds waited."""
        if not self._rate:
            return 0.0
        now = self._clock.monotonic()
        start = max(self._ready_at, now - 1.0)
        self._ready_at = start + units / self._rate
        wait = start - now
        if wait <= 0:
            return 0.0
        self.waiting += 1
        try:
            await self._clock.sleep(wait)
        finally:
            self.waiting -= 1
        return wait


class BreakerState(StrEnum):
    """Closed lets through, open does not, half-open lets probes through."""

    CLOSED = "closed"
    HALF_OPEN = "half_open"
    OPEN = "open"


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """Of BreakerSettings."""

    failures: int = 5
    cooldown: float = 5.0  # seconds
    max_cooldown: float = 60.0
    probes: int = 1


class Breaker:
    """The circuit breaker of one store. Reads and writes fail separately (a full disk still reads), but open it alike."""

    def __init__(self, policy: BreakerPolicy, clock: Clock) -> None:
        self.state = BreakerState.CLOSED
        self._policy, self._clock = policy, clock
        self._failures = {"read": 0, "write": 0}
        self._answered = {"read": float("-inf"), "write": float("-inf")}
        self._broken = ""  # the side that opened it, whose success closes it
        self._cooldown = policy.cooldown
        self._until = 0.0
        self._probing = 0

    def wait(self) -> float:
        """Seconds until work may try this store; 0 = now. Asking after the cool-down makes it half-open."""
        if self.state is BreakerState.CLOSED:
            return 0.0
        left = self._until - self._clock.monotonic()
        if left > 0:
            return left
        self.state = BreakerState.HALF_OPEN
        return 0.0 if self._probing < self._policy.probes else self._policy.cooldown / 4

    def enter(self) -> bool:
        """A transfer begins; True if it is a probe, which `leave` MUST be told."""
        if self.state is BreakerState.CLOSED:
            return False
        self._probing += 1
        return True

    def leave(self) -> None:
        """A probe ended, however."""
        self._probing -= 1

    def admits(self) -> float:
        """For one request of a transfer under way: seconds it would have to wait; 0 = go."""
        if self.state is not BreakerState.OPEN:
            return 0.0
        return max(0.0, self._until - self._clock.monotonic())

    def answered(self, side: str) -> None:
        """The store did its work, or refused for a reason of its own."""
        self._failures[side] = 0
        self._answered[side] = self._clock.monotonic()
        if self.state is not BreakerState.CLOSED and side == self._broken:
            self.state, self._cooldown = BreakerState.CLOSED, self._policy.cooldown

    def failed(self, side: str, retry_after: float | None) -> None:
        """An outage error."""
        self._failures[side] += 1
        if self.state is BreakerState.HALF_OPEN:
            self._cooldown = min(self._cooldown * 2, self._policy.max_cooldown)
            self._open(side, retry_after)
        elif self.state is BreakerState.CLOSED and self._failures[side] >= self._policy.failures:
            self._open(side, retry_after)

    def healthy(self, side: str, since: float) -> bool:
        """Whether it has answered on this side since (monotonic seconds)."""
        return self._answered[side] >= since

    def _open(self, side: str, retry_after: float | None) -> None:
        self.state, self._broken = BreakerState.OPEN, side
        self._until = self._clock.monotonic() + max(self._cooldown, retry_after or 0.0)
