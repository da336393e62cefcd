"""Ledgers on a real Redis, whose time a test can make pass."""

from __future__ import annotations

import os
from itertools import count

from skyferry.clouds.credentials import fixed_credentials
from skyferry.errors import LedgerError
from skyferry.ledgers.redis.database import load_scripts
from skyferry.ledgers.redis.ledger import RedisLedger, open_ledger
from skyferry.ledgers.redis.maintenance import RedisLedgerMaintenance
from skyferry.ledgers.redis.scheme import FORM
from skyferry.redis.address import parse_redis
from skyferry.redis.client import RedisClient, RedisOptions
from skyferry.testing.ledger import LedgerHarness
from skyferry.testing.servers import RedisServer

NAMES = count(1)
# The server's time with an offset, or a fixed time: seconds and microseconds in keys beside the ledger
CLOCK = """(function()
    local set = redis.call('HMGET', KEYS[1] .. ':clock', 'passed', 'seconds', 'microseconds')
    if set[2] then return {tonumber(set[2]), tonumber(set[3])} end
    local time = redis.call('TIME')
    return {time[1] + (set[1] or 0), time[2]}
end)()"""
SCRIPTS = load_scripts(CLOCK)


def connect(server: RedisServer, name: str, user: str = "", password: str = "") -> RedisClient[LedgerError]:
    """Return a client of a ledger."""
    url = f"redis://{user + '@' if user else ''}{server.address}/{name}"
    options = RedisOptions(parse_redis(url, FORM, names=1, allow_plain=False), connect_timeout=5)
    return RedisClient("ledger", options, fixed_credentials(password), LedgerError)


class RedisHarness(LedgerHarness):
    """Ledgers of one name."""

    def __init__(self, server: RedisServer) -> None:
        self.server, self.name = server, f"ledger-{os.getpid()}-{next(NAMES)}"
        self.opened: list[RedisLedger] = []
        self._clock = self.client()
        self._key = f"{{{self.name}}}:ledger:transfers:clock"

    def client(self, user: str = "", password: str = "") -> RedisClient[LedgerError]:
        """Return a client of this ledger."""
        return connect(self.server, self.name, user, password)

    async def open(self, owner: str, lease: float = 30.0) -> RedisLedger:
        ledger = await open_ledger(self.client(), owner, lease, scripts=SCRIPTS)
        self.opened.append(ledger)
        return ledger

    def maintenance(self) -> RedisLedgerMaintenance:
        """Return its maintenance."""
        return RedisLedgerMaintenance(self.client, lambda: open_ledger(self.client(), "rebuild", 30.0))

    async def migrate(self) -> list[str]:
        """Apply all steps. Return their names."""
        return [step async for step in self.maintenance().migrate()]

    async def set_counter(self, name: str, value: int) -> None:
        """Set a field of the numbers of the ledger."""
        await self._clock.run(lambda redis: redis.hset(f"{{{self.name}}}:ledger:counters", name, value))

    async def pass_time(self, seconds: float) -> None:
        await self._clock.run(lambda redis: redis.hincrbyfloat(self._key, "passed", seconds))

    async def set_time(self, seconds: float) -> None:
        """Stop the clock at a time."""
        whole = int(seconds)
        times = {"seconds": whole, "microseconds": (seconds - whole) * 1_000_000}
        await self._clock.run(lambda redis: redis.hset(self._key, mapping=times))

    async def now(self) -> float:
        passed = await self._clock.run(lambda redis: redis.hget(self._key, "passed"))
        seconds, microseconds = await self._clock.run(lambda redis: redis.time())
        return float(seconds) + float(microseconds) / 1e6 + float(passed or 0)

    async def keys(self) -> list[str]:
        """Return all keys of the ledger."""
        pattern = f"{{{self.name}}}*"
        return [key.decode() for key in await self._clock.run(lambda redis: redis.keys(pattern))]

    async def close(self) -> None:
        """All of them, and what they have recorded."""
        for ledger in self.opened:
            await ledger.close()
        if keys := await self.keys():
            await self._clock.run(lambda redis: redis.unlink(*keys))
        await self._clock.close()
