"""Shared rates and breakers in memory."""

from __future__ import annotations

from skyferry.ledgers import rates
from skyferry.ledgers.memory.state import LedgerPart, MemoryBreaker
from skyferry.ledgers.rates import BEHIND
from skyferry.ports import OpenBreaker


class MemoryLimits(LedgerPart):
    """The `SharedRates` and `SharedBreakers` parts of a ledger."""

    owner: str

    async def reserve_units(self, name: str, units: float, rate: float, burst: float) -> float:
        await self._step()
        known = self._state.rates
        known[name], delay = rates.reserve(known.get(name), units, rate, burst, self._clock.time())
        return delay

    async def list_breakers(self) -> list[OpenBreaker]:
        await self._step()
        now = self._clock.time()
        return [
            OpenBreaker(name, b.opening, b.side, b.until - now, b.cooldown)
            for name, b in sorted(self._state.breakers.items())
        ]

    async def open_breaker(self, name: str, side: str, seconds: float, cooldown: float) -> int:
        await self._step()
        now, old = self._clock.time(), self._state.breakers.get(name)
        until = max(now + seconds, old.until if old else 0.0)
        opening = self._state.next_serial()
        self._state.breakers[name] = MemoryBreaker(opening, side, now, until, cooldown)
        return opening

    async def take_trial(self, name: str, opening: int, lease: float) -> bool:
        await self._step()
        now, found = self._clock.time(), self._state.breakers.get(name)
        if found is None or found.opening != opening or not (found.until <= now or now < found.at - BEHIND):
            return False
        if found.holder != self.owner and now < found.trial_until <= now + lease + BEHIND:
            return False
        found.holder, found.trial_until = self.owner, now + lease
        return True

    async def close_breaker(self, name: str, opening: int) -> None:
        await self._step()
        found = self._state.breakers.get(name)
        if found is not None and found.opening == opening:
            del self._state.breakers[name]
