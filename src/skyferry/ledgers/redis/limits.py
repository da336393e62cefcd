"""Shared rates and breakers in Redis. Each call is one script."""

from __future__ import annotations

from skyferry.ledgers import codec, rules
from skyferry.ledgers.redis.database import RedisDatabase
from skyferry.ledgers.redis.records import decode_key, encode_key
from skyferry.ports import OpenBreaker


class RedisLimits:
    """The `SharedRates` and `SharedBreakers` parts of a ledger."""

    owner: str
    _db: RedisDatabase

    async def reserve_units(self, name: str, units: float, rate: float, burst: float) -> float:
        return float(await self._db.run("limits.reserve", encode_key(name), units, rate, burst))

    async def list_breakers(self) -> list[OpenBreaker]:
        found = [
            OpenBreaker(
                decode_key(name),
                int(opening),
                side.decode(),
                codec.to_seconds(int(left)),
                codec.to_seconds(int(cooldown)),
            )
            for name, opening, side, left, cooldown in await self._db.run("limits.list_breakers")
        ]
        return sorted(found, key=lambda breaker: breaker.name)

    async def open_breaker(self, name: str, side: str, seconds: float, cooldown: float) -> int:
        times = rules.to_ticks(seconds), rules.to_ticks(cooldown)
        return int(await self._db.run("limits.open", encode_key(name), side, *times))

    async def take_trial(self, name: str, opening: int, lease: float) -> bool:
        values = encode_key(self.owner), encode_key(name), opening, rules.to_ticks(lease)
        return bool(await self._db.run("limits.take_trial", *values))

    async def close_breaker(self, name: str, opening: int) -> None:
        await self._db.run("limits.close", encode_key(name), opening)
