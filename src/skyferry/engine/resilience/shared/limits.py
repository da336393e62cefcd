"""Exchange the limits that all workers of a ledger share with it. Without it, each worker has its own."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol

from skyferry.clock import sleep_until_set
from skyferry.engine.consume.attempt import find_lease_end
from skyferry.engine.resilience.circuit_breaker import BreakerState
from skyferry.engine.resilience.shared.breaker import FleetBreaker
from skyferry.errors import LedgerError
from skyferry.ports import Clock, Observer, SharedBreakers, SharedRates, Workers
from skyferry.records import Record

BURST = 0.5  # seconds of a rate that may be caught up with
SLOWEST = 1e-6  # units a second of a rate, at least
POLL = 1.0  # seconds between exchanges
PAUSE = 0.1  # seconds between exchanges that are asked for, at least
COUNT = 3.0  # seconds between counts of the workers
TRIAL = 5.0  # seconds for which a worker may try a store without asking again
PATIENCE = 2.0  # seconds for an answer of the ledger


class LimitsLedger(SharedRates, SharedBreakers, Workers, Protocol):
    """The ledger, as shared limits need it."""


class FleetLimits:
    """The rates and breakers that this worker shares. It waits for the ledger for `PATIENCE` seconds at most, and then works on.

    Without the ledger, a worker has the rates divided by the last known number of workers, and its own breakers.
    """

    def __init__(self, ledger: LimitsLedger, clock: Clock, observer: Observer) -> None:
        self.alone = False  # the ledger does not answer
        self.problem = ""  # why it does not
        self.workers = 1  # the last known number
        self._ledger, self._clock, self._observer = ledger, clock, observer
        self._breakers: dict[str, FleetBreaker] = {}
        self._asked = asyncio.Event()
        self._counted = float("-inf")
        self._unreserved: dict[str, float] = {}  # rates of which the last reservation failed

    def share_breakers(self, breakers: Mapping[str, FleetBreaker]) -> None:
        """Share these breakers, by store."""
        self._breakers |= breakers

    def ask(self) -> None:
        """Exchange at once."""
        self._asked.set()

    async def reserve(self, name: str, units: float, rate: float) -> float | None:
        """Return the seconds until units of a rate may be used; None if the ledger does not answer."""
        try:
            async with asyncio.timeout(PATIENCE):
                return await self._ledger.reserve_units(name, units, max(rate, SLOWEST), BURST)
        except (LedgerError, TimeoutError) as error:
            self._unreserved[name] = rate
            self._fall_back(error)
            return None

    async def run(self) -> None:
        """Exchange every second, and when asked to, until cancelled."""
        while True:
            self._asked.clear()
            await self.exchange()
            await self._clock.sleep(PAUSE)
            await sleep_until_set(self._clock, POLL - PAUSE, self._asked)

    async def exchange(self) -> None:
        """Publish what this worker has found, and learn what others have."""
        try:
            async with asyncio.timeout(PATIENCE):
                if self._clock.monotonic() >= self._counted + COUNT:
                    self.workers = max(1, sum((await self._ledger.count_workers()).values()))
                    self._counted = self._clock.monotonic()
                await self._exchange_breakers()
                await self._try_reservations()
        except (LedgerError, TimeoutError) as error:
            self._fall_back(error)
        else:
            self._restore()

    async def _exchange_breakers(self) -> None:
        """Publish first: what the ledger lists afterwards is newer."""
        for breaker in self._breakers.values():
            await self._publish(breaker)
        found = {breaker.name: breaker for breaker in await self._ledger.list_breakers()}
        for store, breaker in self._breakers.items():
            before = breaker.state
            breaker.learn(found.get(breaker.name))
            self._report(store, before, breaker.state)
            await self._seek_trial(breaker)

    async def _try_reservations(self) -> None:
        """Reserve nothing of each rate that failed: the ledger may answer other requests, such as for lack of rights."""
        for name, rate in list(self._unreserved.items()):
            await self._ledger.reserve_units(name, 0.0, max(rate, SLOWEST), BURST)
            del self._unreserved[name]

    async def _publish(self, breaker: FleetBreaker) -> None:
        while breaker.unpublished:
            breaker.unpublished = False
            try:
                if breaker.state is BreakerState.CLOSED:
                    if breaker.opening:
                        await self._ledger.close_breaker(breaker.name, breaker.opening)
                        breaker.opening = 0
                elif not breaker.private:
                    facts = breaker.side, breaker.time_left, breaker.cooldown
                    breaker.opening = await self._ledger.open_breaker(breaker.name, *facts)
            except BaseException:  # also if it is cancelled: it may not have taken effect
                breaker.unpublished = True
                raise

    async def _seek_trial(self, breaker: FleetBreaker) -> None:
        if opening := breaker.find_wanted_trial():
            ends = find_lease_end(self._clock, TRIAL)
            if await self._ledger.take_trial(breaker.name, opening, TRIAL):
                breaker.grant_trial(opening, ends)
            else:
                breaker.refuse_trial()

    def _fall_back(self, error: Exception) -> None:
        known = error if isinstance(error, LedgerError) else LedgerError(f"no answer within {PATIENCE:g} s")
        self.problem = str(known)
        if not self.alone:
            self._set_alone(True)
            record = Record("shared_limits.fallback", error=known.kind, message=known.message, hint=known.hint)
            self._observer.on(replace(record, count=self.workers))

    def _restore(self) -> None:
        if self.alone:
            self._set_alone(False)
            self._observer.on(Record("shared_limits.restored"))

    def _set_alone(self, alone: bool) -> None:
        self.alone = alone
        for breaker in self._breakers.values():
            breaker.alone = alone

    def _report(self, store: str, before: BreakerState, after: BreakerState) -> None:
        if after is not before:
            message = "another worker has found it"
            self._observer.on(Record("breaker.changed", store=store, reason=after, message=message))
