"""The ledger in PostgreSQL from outside: whether it exists, is consistent, and has safe settings."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from skyferry.errors import LedgerError, SkyferryError
from skyferry.ledgers.postgres.database import EXISTS, LedgerDatabase
from skyferry.ledgers.postgres.ledger import PostgresLedger
from skyferry.ports.inspection import Wrong
from skyferry.ports.ledger import Backup, Ledger
from skyferry.postgres.pool import PostgresPool
from skyferry.sqlite.statements import load_statements

SQL = load_statements(__package__, "maintenance.sql")
OLDEST = 140000  # version of the server
LOSSY = "The server may lose what it has confirmed: messages are acknowledged and their settlements are gone."


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
            return bool(await db.read(lambda session: session.fetchval(EXISTS, self._schema)))

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
            found = dict(await db.read(lambda session: session.fetch(SQL["settings"])))
        wrong = []
        if int(found["server_version_num"]) < OLDEST:
            wrong.append(Wrong(f"the server is PostgreSQL {found['server_version']}", "Use PostgreSQL 14 or newer."))
        if found["transaction_read_only"] == "on":
            wrong.append(Wrong("the server is a read-only standby", "List all servers of the cluster in the URL."))
        for name, value in (("fsync", "off"), ("full_page_writes", "off"), ("synchronous_commit", "off")):
            if found[name] == value:
                wrong.append(Wrong(f"{name} is {value}. {LOSSY}", f"Set {name} = on."))
        if found["zero_damaged_pages"] == "on":
            wrong.append(Wrong("zero_damaged_pages is on: records may vanish", "Set zero_damaged_pages = off."))
        return wrong

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
