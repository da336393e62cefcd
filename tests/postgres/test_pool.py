"""The connections of a pool, at a real PostgreSQL."""

from __future__ import annotations

from typing import Any

import pytest
from tests.ledgers.postgres.places import PostgresHarness

from skyferry.testing.servers import PostgresServer


async def test_use_of_a_connection_costs_no_other_statement(postgres_server: PostgresServer) -> None:
    """The next use has the same connection, without a transaction that the one before had left open."""
    harness = PostgresHarness(postgres_server)
    pool, observer = harness.pool(), harness.pool()

    async def ask(connection: Any) -> tuple[int, bool]:
        at = await connection.fetchval("SELECT pg_backend_pid()")
        return at, connection.is_in_transaction()

    async def leave_open(connection: Any) -> None:
        await connection.execute("BEGIN")
        raise ZeroDivisionError

    first = await pool.run(ask)
    last = "SELECT query FROM pg_stat_activity WHERE pid = $1"
    assert await observer.run(lambda c: c.fetchval(last, first[0])) == "SELECT pg_backend_pid()"
    with pytest.raises(ZeroDivisionError):
        await pool.run(leave_open)
    assert await observer.run(lambda c: c.fetchval(last, first[0])) == "ROLLBACK"
    assert await pool.run(ask) == first
    for each in (pool, observer):
        await each.close()
    await harness.close()
