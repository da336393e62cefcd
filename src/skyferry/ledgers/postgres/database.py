"""Transactions on the database of a ledger. Statements name the schema as `@schema`, for a pooler forgets a search path."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import asyncpg

from skyferry.errors import LedgerError
from skyferry.postgres.pool import Connection, PostgresPool
from skyferry.sqlite.statements import read_sql

T = TypeVar("T")
OnHealth = Callable[[LedgerError | None], None]  # called with each failure, and with None once the ledger works again
AGAIN = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError)
TRIES = 10  # of a transaction that was aborted so that another could go on
VERSION = 1  # of the schema
EXISTS = "SELECT EXISTS (SELECT FROM pg_tables WHERE schemaname = $1 AND tablename = 'transfers')"
MAKING = 0x536B794C  # the advisory lock of the process that makes the schema


class LedgerSession:
    """A connection that completes statements with the name of the schema."""

    def __init__(self, connection: Connection, schema: str, statements: dict[str, str]) -> None:
        """`schema` is a quoted name. `statements` are those completed before, by their text."""
        self._connection, self._schema, self._statements = connection, schema, statements

    def _complete(self, sql: str) -> str:
        if (found := self._statements.get(sql)) is None:
            literal = self._schema.replace("'", "''")
            found = sql.replace("'@schema.", f"'{literal}.").replace("@schema", self._schema)
            self._statements[sql] = found
        return found

    async def fetch(self, sql: str, *values: Any) -> list[Any]:
        """Return all rows."""
        rows: list[Any] = await self._connection.fetch(self._complete(sql), *values)
        return rows

    async def fetchrow(self, sql: str, *values: Any) -> Any:
        """Return the first row; None if there is none."""
        return await self._connection.fetchrow(self._complete(sql), *values)

    async def fetchval(self, sql: str, *values: Any) -> Any:
        """Return the first value of the first row; None if there is none."""
        return await self._connection.fetchval(self._complete(sql), *values)

    async def execute(self, sql: str, *values: Any) -> None:
        """Run a statement; several without values."""
        await self._connection.execute(self._complete(sql), *values)

    def transaction(self) -> Any:
        """Return a context that commits, or rolls back on an exception."""
        return self._connection.transaction()


class LedgerDatabase:
    """Runs calls on a pool, each as one transaction."""

    def __init__(self, pool: PostgresPool[LedgerError], on_health: OnHealth) -> None:
        self._pool, self._on_health = pool, on_health
        self._failing = False
        self.schema = pool.address.schema
        self._quoted = '"' + self.schema.replace('"', '""') + '"'
        self._statements: dict[str, str] = {}

    @property
    def closed(self) -> bool:
        """True after `close`."""
        return self._pool.closed

    async def read(self, call: Callable[[LedgerSession], Awaitable[T]]) -> T:
        """Run a call of one statement. Raises LedgerError."""
        return await self._run(call)

    async def write(self, call: Callable[[LedgerSession], Awaitable[T]]) -> T:
        """Run a call in one transaction, durably. Raises LedgerError.

        It is repeated if the server aborts it to let others go on.
        """

        async def transact(session: LedgerSession) -> T:
            for _ in range(TRIES - 1):
                try:
                    async with session.transaction():
                        return await call(session)
                except AGAIN:
                    continue
            async with session.transaction():
                return await call(session)

        return await self._run(transact)

    async def _run(self, call: Callable[[LedgerSession], Awaitable[T]]) -> T:
        try:
            result = await self._pool.run(lambda db: call(LedgerSession(db, self._quoted, self._statements)))
        except LedgerError as error:
            if not self._pool.closed:
                self._failing = True
                self._on_health(error)
            raise
        if self._failing:
            self._failing = False
            self._on_health(None)
        return result

    async def close(self) -> None:
        """Close the connections. Idempotent."""
        await self._pool.close()


async def make_schema(db: LedgerSession, schema: str) -> None:
    """Create the schema and its tables if they are missing. Runs in a transaction. Raises LedgerError if it is too new."""
    await db.execute("SELECT pg_advisory_xact_lock($1)", MAKING)
    if not await db.fetchval(EXISTS, schema):
        if not await db.fetchval("SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1)", schema):
            await db.execute("CREATE SCHEMA @schema")
        await db.execute(read_sql(__package__, "schema.sql"))
        await db.execute(f"COMMENT ON TABLE @schema.transfers IS 'skyferry ledger {VERSION}'")
    said = str(await db.fetchval("SELECT obj_description('@schema.transfers'::regclass)") or "")
    found = said.rpartition(" ")[2]
    if not found.isdecimal() or int(found) > VERSION:
        raise LedgerError(
            f"the ledger in schema {schema} has version {found or 'unknown'}, and this Skyferry knows {VERSION}",
            hint="Update Skyferry on this machine.",
        )
