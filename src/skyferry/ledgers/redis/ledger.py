"""A ledger in Redis or Valkey, for the workers of a fleet."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from contextlib import suppress

from skyferry.errors import LedgerError
from skyferry.ledgers.redis.claims.claims import RedisClaims
from skyferry.ledgers.redis.database import RedisDatabase, load_scripts
from skyferry.ledgers.redis.dead_letters import RedisDeadLetters
from skyferry.ledgers.redis.housekeeping import RedisHeldDeletes, RedisHousekeeping
from skyferry.ledgers.redis.limits import RedisLimits
from skyferry.ledgers.redis.queries import RedisQueries
from skyferry.ledgers.redis.uploads import RedisUploads
from skyferry.ledgers.redis.workers import RedisWorkers
from skyferry.ledgers.server_health import OnHealth
from skyferry.redis.client import RedisClient
from skyferry.redis.scripts import LuaScript


class RedisLedger(
    RedisClaims,
    RedisQueries,
    RedisUploads,
    RedisDeadLetters,
    RedisHousekeeping,
    RedisHeldDeletes,
    RedisWorkers,
    RedisLimits,
):
    """A `Ledger`. Any number of processes on any number of machines use the keys. "now" is the server's clock."""

    def __init__(self, db: RedisDatabase, owner: str, lease: float) -> None:
        """Use `open_ledger`, which also makes the ledger."""
        self.owner, self.lease = owner, lease
        self._db, self._known = db, {}
        self._me = secrets.randbits(52) | 1

    async def close(self) -> None:
        if not self._db.closed:
            with suppress(LedgerError):  # the leases end by themselves
                await self._free_all()
        await self._db.close()


async def open_ledger(
    client: RedisClient[LedgerError],
    owner: str,
    lease: float,
    on_health: OnHealth = lambda error: None,
    scripts: Mapping[str, LuaScript] | None = None,
) -> RedisLedger:
    """Open a ledger, and create it if it is missing. `owner` MUST be unique; `lease` is in seconds. Raises LedgerError."""
    db = RedisDatabase(client, on_health, load_scripts() if scripts is None else scripts)
    try:
        await db.ensure_ledger()
    except BaseException:  # also if it is cancelled
        await client.close()
        raise
    return RedisLedger(db, owner, lease)
