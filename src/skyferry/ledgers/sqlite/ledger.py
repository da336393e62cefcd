"""A ledger in one SQLite file, for the processes of one machine."""

from __future__ import annotations

from pathlib import Path

from skyferry.errors import LedgerError
from skyferry.ledgers.sqlite.dead_letters import SqliteDeadLetters
from skyferry.ledgers.sqlite.fleet.limits import SqliteLimits
from skyferry.ledgers.sqlite.fleet.workers import SqliteWorkers
from skyferry.ledgers.sqlite.held_deletes import SqliteHeldDeletes
from skyferry.ledgers.sqlite.housekeeping import SqliteHousekeeping, SqliteRefusals
from skyferry.ledgers.sqlite.queries import SqliteQueries
from skyferry.ledgers.sqlite.schema import HISTORY
from skyferry.ledgers.sqlite.uploads import SqliteUploads
from skyferry.ports import Clock
from skyferry.sqlite.file import OnHealth, SqliteFile

CACHE = 64 * 2**20  # bytes: the look-ups of a large ledger are random


class SqliteLedger(
    SqliteWorkers,
    SqliteQueries,
    SqliteUploads,
    SqliteDeadLetters,
    SqliteRefusals,
    SqliteHeldDeletes,
    SqliteHousekeeping,
    SqliteLimits,
):
    """A `Ledger`. Any number of processes may have the file open. The leases of a process that dies are freed at once."""

    def __init__(
        self,
        path: Path,
        owner: str,
        clock: Clock,
        lease: float = 30.0,
        on_health: OnHealth = lambda error: None,
        cache: int = CACHE,
        *,
        reads: bool = False,
    ) -> None:
        """Open or create the file. `owner` MUST be unique among the processes that have it open; `lease` is in seconds.

        `on_health` is called with each LedgerError, and with None once the ledger works again. `cache`: see `SqliteFile`.

        With `reads`, nothing is claimed, and this process is not entered as an owner.
        """
        self.owner = owner
        self.lease = lease
        self._clock = clock
        self._reads = reads
        register = None if reads else self._register
        self._file = SqliteFile(path, HISTORY, owner, LedgerError, register, on_health, cache)

    async def close(self) -> None:
        try:
            if not (self._file.closed or self._reads):
                await self._unregister()
        finally:
            await self._file.close()
