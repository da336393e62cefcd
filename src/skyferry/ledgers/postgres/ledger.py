"""A ledger in PostgreSQL, for the workers of a fleet."""

from __future__ import annotations

from contextlib import suppress

from skyferry.errors import LedgerError
from skyferry.ledgers.postgres.claims.claims import PostgresClaims
from skyferry.ledgers.postgres.claims.snapshot import Destination
from skyferry.ledgers.postgres.database import LedgerDatabase
from skyferry.ledgers.postgres.dead_letters import PostgresDeadLetters
from skyferry.ledgers.postgres.housekeeping import PostgresHeldDeletes, PostgresHousekeeping
from skyferry.ledgers.postgres.limits import PostgresLimits
from skyferry.ledgers.postgres.queries import PostgresQueries
from skyferry.ledgers.postgres.uploads import PostgresUploads
from skyferry.ledgers.postgres.workers import PostgresWorkers
from skyferry.ledgers.server_health import OnHealth
from skyferry.postgres.pool import PostgresPool


class PostgresLedger(
    PostgresClaims,
    PostgresQueries,
    PostgresUploads,
    PostgresDeadLetters,
    PostgresHousekeeping,
    PostgresHeldDeletes,
    PostgresWorkers,
    PostgresLimits,
):
    """A `Ledger`. Any number of processes on any number of machines use the schema. "now" is the server's clock."""

    def __init__(
        self, pool: PostgresPool[LedgerError], owner: str, lease: float, on_health: OnHealth = lambda error: None
    ) -> None:
        """Use `open_ledger`, which also makes the schema."""
        self.owner, self.lease = owner, lease
        self._db = LedgerDatabase(pool, on_health)
        self._leased, self._kept, self._registered = set[int](), set[Destination](), False

    async def _open(self, *, reads: bool = False) -> None:
        await self._db.open()
        if not reads:
            await self._register()
            self._registered = True

    async def close(self) -> None:
        if self._registered and not self._db.closed:
            with suppress(LedgerError):  # the leases end by themselves
                await self._unregister()
        await self._db.close()


async def open_ledger(
    pool: PostgresPool[LedgerError],
    owner: str,
    lease: float,
    on_health: OnHealth = lambda error: None,
    *,
    reads: bool = False,
) -> PostgresLedger:
    """Open a ledger, and create it if it is missing. `owner` MUST be unique; `lease` is in seconds. Raises LedgerError.

    With `reads`, nothing is claimed, and this process is not entered as an owner.
    """
    ledger = PostgresLedger(pool, owner, lease, on_health)
    try:
        await ledger._open(reads=reads)
    except BaseException:  # also if it is cancelled
        await pool.close()
        raise
    return ledger
