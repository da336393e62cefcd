"""Transactions on the database of a ledger."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import asyncpg

from skyferry.errors import LedgerError, LedgerIncompatible
from skyferry.ledgers.server_health import OnHealth, ServerHealth, Side
from skyferry.postgres.errors import ABORTED
from skyferry.postgres.pool import Connection, PostgresPool, Transaction
from skyferry.postgres.rights import find_lacking_rights
from skyferry.postgres.schema import complete_statement, ensure_schema, read_known_version
from skyferry.sql.schema_steps import load_history

T = TypeVar("T")


class WriteConflict(LedgerError):
    """Another worker has written first. The transaction is repeated."""


AGAIN = (*ABORTED, WriteConflict)
TRIES = 10  # of a transaction that was aborted so that another could go on
HISTORY = load_history(__package__, "ledger", "transfers", LedgerIncompatible, "`skyferry ledger migrate --create`")


class LedgerSession:
    """A connection that completes statements with the name of the schema."""

    def __init__(self, connection: Connection, schema: str, statements: dict[str, str]) -> None:
        """`statements` are those completed before, by their text."""
        self._connection, self._schema, self._statements = connection, schema, statements

    def _complete(self, sql: str) -> str:
        if (found := self._statements.get(sql)) is None:
            found = self._statements[sql] = complete_statement(sql, self._schema)
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

    async def execute(self, sql: str, *values: Any) -> bool:
        """Run a statement; several without values. Return False if the last one has changed no row."""
        tag: str = await self._connection.execute(self._complete(sql), *values)
        return not tag.endswith(" 0")

    def transaction(self) -> Transaction:
        """Return a context that commits, or rolls back on an exception."""
        return Transaction(self._connection)


class LedgerDatabase:
    """Runs calls on a pool, each as one transaction."""

    def __init__(self, pool: PostgresPool[LedgerError], on_health: OnHealth) -> None:
        self._pool = pool
        self._health = ServerHealth(on_health, lambda: pool.closed)
        self.schema = pool.address.schema
        self._statements: dict[str, str] = {}

    @property
    def closed(self) -> bool:
        """True after `close`."""
        return self._pool.closed

    async def open(self) -> None:
        """Apply the expansions. Raises LedgerIncompatible if the schema is too new, as do later calls once it has become so.

        A contraction is refused while an older program has a connection, so it may be applied while this process has none.
        """
        await self.run(lambda db: ensure_schema(db, self.schema, HISTORY))
        self._pool.check_connections(lambda db: read_known_version(db, self.schema, HISTORY))

    async def read_apart(self, call: Callable[[LedgerSession], Awaitable[T]]) -> T:
        """Run a call as `read`. Its failure is not one of the ledger: the work goes on without it."""
        return await self._explain(lambda db: call(LedgerSession(db, self.schema, self._statements)), lasting=False)

    async def read(self, call: Callable[[LedgerSession], Awaitable[T]]) -> T:
        """Run a call of one statement. Raises LedgerError."""
        return await self._run(call, "read")

    async def write(self, call: Callable[[LedgerSession], Awaitable[T]]) -> T:
        """Run a call in one transaction, durably. Raises LedgerError.

        It is repeated if the server aborts it to let others go on.
        """

        return await self._run(lambda session: self._transact(session, call), "write")

    async def write_one(self, call: Callable[[LedgerSession], Awaitable[T]]) -> T:
        """Run a call of one statement as `write`. It commits by itself, which saves two round trips."""

        async def run(session: LedgerSession) -> T:
            try:
                return await call(session)
            except ABORTED:  # the database has a stricter isolation by default, and the transaction of `write` has not
                return await self._transact(session, call)

        return await self._run(run, "write")

    async def _transact(self, session: LedgerSession, call: Callable[[LedgerSession], Awaitable[T]]) -> T:
        for _ in range(TRIES - 1):
            try:
                async with session.transaction():
                    return await call(session)
            except AGAIN:
                continue
        async with session.transaction():
            return await call(session)

    async def _run(self, call: Callable[[LedgerSession], Awaitable[T]], side: Side) -> T:
        return await self.run(lambda db: call(LedgerSession(db, self.schema, self._statements)), side)

    async def run(self, call: Callable[[Connection], Awaitable[T]], side: Side = "write") -> T:
        """Return the result of a call with a connection. Each statement commits by itself. Raises LedgerError."""
        return await self._health.observe(self._explain(call, lasting=True), side)

    async def check_rights(self) -> None:
        """Raise LedgerError as long as the role lacks a right that a request has needed."""
        if self._health.lasting:
            await self._pool.run(self._require_rights)
            self._health.lasting = False

    async def _explain(self, call: Callable[[Connection], Awaitable[T]], *, lasting: bool) -> T:
        """Run a call. Its error names the tables on which the role lacks rights, and the grant. It is `lasting` for the health."""
        try:
            return await self._pool.run(call)
        except LedgerError as error:
            if isinstance(error.__cause__, asyncpg.InsufficientPrivilegeError):
                self._health.lasting = self._health.lasting or lasting
                await self._pool.run(self._require_rights)
            raise

    async def _require_rights(self, connection: Connection) -> None:
        if wrong := await find_lacking_rights(connection, self.schema, HISTORY):
            raise LedgerError(wrong.what, where="ledger", hint=wrong.hint, transient=False)

    async def close(self) -> None:
        """Close the connections. Idempotent."""
        await self._pool.close()
