"""The ledger in PostgreSQL from outside: whether it exists, is consistent, and has safe settings."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from skyferry.errors import LedgerError, SkyferryError
from skyferry.ledgers.postgres.database import TABLE, LedgerDatabase
from skyferry.ledgers.postgres.ledger import PostgresLedger
from skyferry.ports.inspection import Wrong
from skyferry.ports.ledger import Backup, Ledger
from skyferry.postgres.pool import PostgresPool
from skyferry.postgres.schema import find_version
from skyferry.postgres.server_settings import find_unsafe_settings
from skyferry.sql import load_statements

SQL = load_statements(__package__, "maintenance.sql")


class PostgresLedgerMaintenance:
    """A `LedgerMaintenance`, and an `InspectableLedger`. Backups are the server's."""

    def __init__(
        self, pool: Callable[[], PostgresPool[LedgerError]], open_: Callable[[], Coroutine[Any, Any, PostgresLedger]]
    ) -> None:
        """`pool` makes connections, and `open_` opens the ledger."""
        address = pool().address
        self._pool, self._open, self._schema = pool, open_, address.schema
        self.where = f"postgresql://{address.server.shown}/{address.database}, schema {address.schema}"

    async def exists(self) -> bool:
        async with self._database() as db:
            return await db.read(lambda session: find_version(session, self._schema, TABLE)) is not None

    async def find_damage(self, *, quick: bool = False) -> list[str]:
        """See `Durable`. The pages are the server's to check; here the records are compared with each other."""
        if quick:
            return []
        async with self._database() as db:
            rows = await db.read(lambda session: session.fetch(SQL["inconsistent"]))
        return [f"{count:,} {what}" for what, count in rows if count]

    async def find_wrong_settings(self) -> list[Wrong]:
        """Return settings of the server that break a promise of the ledger. Raises LedgerError."""
        async with self._database() as db:
            return await db.read(find_unsafe_settings)

    async def back_up(self, target: Path) -> Backup:
        """Raise SkyferryError: the tools of the server do it, as of one moment and while the service runs."""
        hint = f"Use the backups of the server, or pg_dump --schema={self._schema}."
        raise SkyferryError("a ledger in PostgreSQL is backed up by its server", where=self.where, hint=hint)

    @asynccontextmanager
    async def rebuild(self, *, add: bool = False) -> AsyncIterator[Ledger]:
        """See `LedgerMaintenance`. A ledger with records is only added to; services may be using it."""
        ledger = await self._open()
        try:
            if not add and any((await ledger.count_transfers()).values()):
                hint = "Add --add to complete it, or name another schema in the URL."
                raise SkyferryError("the ledger is not empty", where=self.where, hint=hint)
            yield ledger
        finally:
            await ledger.close()

    @asynccontextmanager
    async def _database(self) -> AsyncIterator[LedgerDatabase]:
        db = LedgerDatabase(self._pool(), lambda error: None)
        try:
            yield db
        finally:
            await db.close()
