"""A ledger in one SQLite file, for the processes of one machine."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from skyferry.errors import LedgerError
from skyferry.ledgers.sqlite import dead_letters
from skyferry.ledgers.sqlite.dead_letters import SqliteDeadLetters
from skyferry.ledgers.sqlite.held_deletes import SqliteHeldDeletes
from skyferry.ledgers.sqlite.housekeeping import SqliteHousekeeping
from skyferry.ledgers.sqlite.queries import SqliteQueries
from skyferry.ledgers.sqlite.refusals import SqliteRefusals
from skyferry.ledgers.sqlite.uploads import SqliteUploads
from skyferry.ledgers.sqlite.workers import SqliteWorkers
from skyferry.ports import Clock
from skyferry.sql import read_sql
from skyferry.sqlite.file import OnHealth, SqliteFile
from skyferry.sqlite.owners import OwnerLock

CACHE = 64 * 2**20  # bytes: the look-ups of a large ledger are random


class SqliteLedger(
    SqliteWorkers,
    SqliteQueries,
    SqliteUploads,
    SqliteDeadLetters,
    SqliteRefusals,
    SqliteHeldDeletes,
    SqliteHousekeeping,
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
    ) -> None:
        """Open or create the file. `owner` MUST be unique among the processes that have it open; `lease` is in seconds.

        `on_health` is called with each LedgerError, and with None once the ledger works again. `cache`: see `SqliteFile`.
        """
        self.owner = owner
        self.lease = lease
        self._clock = clock
        self._file = SqliteFile(path, read_schema(), owner, LedgerError, self._opened, on_health, cache)

    def _opened(self, db: sqlite3.Connection, presence: OwnerLock) -> None:
        dead_letters.migrate_letters(db)
        self._register(db, presence)

    async def close(self) -> None:
        if not self._file.closed:
            await self._unregister()
        await self._file.close()


def read_schema() -> str:
    """Return the SQL that creates what a file lacks."""
    return read_sql(__package__, "schema.sql")
