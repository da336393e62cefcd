"""The ledger in PostgreSQL from outside: its schema, its consistency, and the settings of its server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from skyferry.errors import LedgerError, SkyferryError
from skyferry.ledgers.postgres.database import HISTORY, LedgerDatabase
from skyferry.ledgers.postgres.ledger import PostgresLedger
from skyferry.ledgers.postgres.status import (
    check_older_programs,
    describe_server,
    find_costly_settings,
    read_status,
)
from skyferry.ports.inspection import LedgerFacts
from skyferry.ports.ledger import Backup, Ledger, LedgerRecords, LedgerStatus
from skyferry.postgres.pool import Connection, PostgresPool
from skyferry.postgres.rights import find_lacking_rights
from skyferry.postgres.schema import (
    LONG,
    UNLIMITED,
    apply_next_step,
    complete_statement,
    read_known_version,
    read_schema_state,
    read_schema_version,
)
from skyferry.postgres.server_settings import find_unsafe_settings, read_server_facts
from skyferry.sql import load_statements
from skyferry.sql.schema_steps import SchemaStep

SQL = load_statements(__package__, "maintenance.sql")


class PostgresLedgerMaintenance:
    """A `LedgerMaintenance`, and an `InspectableLedger`. Backups are the server's."""

    remedy = (
        "restore the schema from a backup of the server, or name a new one in the URL and run `skyferry ledger rebuild`"
    )

    def __init__(
        self, pool: Callable[[], PostgresPool[LedgerError]], open_: Callable[[], Coroutine[Any, Any, PostgresLedger]]
    ) -> None:
        """`pool` makes connections, and `open_` opens the ledger."""
        address = pool().address
        self._pool, self._open, self._address, self._schema = pool, open_, address, address.schema
        self._shown = f"postgresql://{address.server.shown}/{address.database}"
        self.where = f"{self._shown}, schema {address.schema}"

    async def exists(self) -> bool:
        async with self._database() as db:
            found = await db.run(lambda connection: read_schema_version(connection, self._schema, HISTORY))
            return found.number > 0

    async def read_status(self) -> LedgerStatus:
        async with self._database() as db:
            return await db.run(lambda connection: read_status(connection, self._schema))

    @asynccontextmanager
    async def read_records(self) -> AsyncIterator[LedgerRecords]:
        pool = self._pool()
        try:
            yield PostgresLedger(pool, "", 0.0)  # not opened, so it has no owner
        finally:
            await pool.close()

    async def migrate(self) -> AsyncIterator[str]:
        async with self._database() as db:
            while (step := await db.run(self._apply_next_step)) is not None:
                yield str(step)

    async def _apply_next_step(self, connection: Connection) -> SchemaStep | None:
        return await apply_next_step(connection, self._schema, HISTORY, contract=True, permit=check_older_programs)

    async def find_damage(self, *, quick: bool = False) -> list[str]:
        """See `Durable`. The pages are the server's to check; here the records are compared with each other."""
        if quick:
            return []
        async with self._database() as db:
            rows = await db.run(self._find_inconsistent)
        return [f"{count:,} {what}" for what, count in rows if count]

    async def _find_inconsistent(self, connection: Connection) -> list[Any]:
        """Return the rows of a statement that reads all tables, which takes minutes in a large ledger."""
        await read_known_version(connection, self._schema, HISTORY)
        async with connection.transaction(readonly=True):
            await connection.execute(UNLIMITED)
            statement = complete_statement(SQL["inconsistent"], self._schema)
            rows: list[Any] = await connection.fetch(statement, timeout=LONG)
            return rows

    async def inspect(self) -> LedgerFacts:
        """See `InspectableLedger`."""
        async with self._database() as db:
            facts = await db.run(read_server_facts)
            tables = HISTORY.logged_tables
            unsafe = await db.run(lambda connection: find_unsafe_settings(connection, self._schema, tables))
            state = await db.run(lambda connection: read_schema_state(connection, self._schema, HISTORY))
            costly = await db.run(lambda connection: find_costly_settings(connection, self._schema))
            lacking = await db.run(lambda connection: find_lacking_rights(connection, self._schema, HISTORY))
        wrong = [*unsafe, lacking] if lacking else unsafe
        return describe_server(self._address, facts, wrong, state, costly)

    async def back_up(self, target: Path) -> Backup:
        """Raise SkyferryError: the tools of the server do it, as of one moment and while the service runs."""
        hint = f"Use the backups of the server, or `pg_dump --schema={self._schema} --dbname={self._shown}`."
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
