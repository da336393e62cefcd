"""Limit the rate of requests and bytes that all workers of a ledger send to a store together."""

from __future__ import annotations

import asyncio
from typing import Protocol

from skyferry.engine.resilience.rate_limit import RateLimiter
from skyferry.ports import Clock

SPAN = 0.25  # seconds of the rate in a batch, at most; one request may be more
LIFE = 0.25  # seconds for which a batch may be used
LINE = 0.5  # seconds of waiting from which on batches become smaller, so that the workers take turns more often


class RateReservations(Protocol):
    """The ledger, as a rate needs it."""

    alone: bool  # it does not answer: each worker has its share of the rate
    workers: int  # the last known number of workers

    async def reserve(self, name: str, units: float, rate: float) -> float | None:
        """Return the seconds until the units may be used; None if the ledger does not answer."""


class FleetRateLimiter(RateLimiter):
    """A rate of units per second that workers share. They draw batches in the ledger, and spend them without asking.

    Batches follow each other on the time line of the rate, and each may be used for a quarter of a second. So in any `T`
    seconds the workers together use at most what the rate gives in `T` + 1 seconds (BURST + SPAN + LIFE), and in the time of
    one answer of the ledger; and of bytes one request more for each worker. A worker that ends loses one batch at most.
    """

    def __init__(self, name: str, rate: float, reservations: RateReservations, clock: Clock) -> None:
        """`name` is the same for all workers. A `rate` of 0 does not limit."""
        super().__init__(rate, clock)
        self._name, self._total, self._reservations = name, rate, reservations
        self._turn = asyncio.Lock()
        self._most = max(1.0, rate * SPAN)
        self._size = self._most  # units of the next batch
        self._left = self._drawn = 0.0  # units of this batch
        self._begins = self._ends = 0.0  # monotonic seconds between which it may be used
        self._expired = False  # the last batch was not used up
        self._fell_back = False  # the last units were of this worker's own rate

    async def take(self, units: float) -> float:
        if not self._total or (not self._turn.locked() and self._spend(units)):
            return 0.0
        began = self._clock.monotonic()
        self.waiting += 1
        try:
            granted = await self._wait_turn(units)
        finally:
            self.waiting -= 1
        waited = self._clock.monotonic() - began
        if granted:
            return waited
        if not self._fell_back:  # no catching up: the time until now was the fleet's
            self._fell_back, self._ready_at = True, max(self._ready_at, self._clock.monotonic())
        self._rate = self._total / self._reservations.workers
        return waited + await super().take(units)

    async def _wait_turn(self, units: float) -> bool:
        """Spend units of batches, drawn as needed. Return False if the ledger does not answer."""
        async with self._turn:
            while not self._reservations.alone:
                if self._spend(units):
                    return True
                if (early := self._begins - self._clock.monotonic()) > 0:
                    await self._clock.sleep(early)
                    self._ends = max(self._ends, self._clock.monotonic() + LIFE)
                elif not await self._draw(units - self._left):
                    return False
        return False

    def _spend(self, units: float) -> bool:
        """Spend units of the batch. Return False if it has not begun, or has fewer."""
        now = self._clock.monotonic()
        if self._drawn and now >= self._ends:
            self._size, self._expired = max(1.0, self._drawn - self._left), True
            self._left = self._drawn = 0.0
        if now < self._begins or self._left < units:
            return False
        self._left -= units
        return True

    async def _draw(self, needed: float) -> bool:
        """Draw a batch. It becomes larger while all of it is used, and smaller while workers wait for each other."""
        amount = max(needed, self._size // 1)
        if (delay := await self._reservations.reserve(self._name, amount, self._total)) is None:
            return False
        self._left += amount
        self._fell_back = False
        self._drawn = self._left
        self._begins = self._clock.monotonic() + delay
        self._ends = self._begins + LIFE
        growth = 0.5 if delay > LINE else 1.0 if self._expired else 2.0
        self._size, self._expired = min(self._most, max(1.0, self._size * growth)), False
        return True
