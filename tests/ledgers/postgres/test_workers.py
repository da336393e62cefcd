"""Heartbeats in PostgreSQL, each of which is one statement."""

from __future__ import annotations

import asyncio

import pytest
from tests.ledgers.postgres.places import PostgresHarness

from skyferry.ports import Heartbeat
from skyferry.testing.servers import PostgresServer

BEAT = Heartbeat("host", "1", "", 0.0)


async def test_a_heartbeat_is_one_statement(postgres_server: PostgresServer) -> None:
    """Each worker sends one every three seconds. A transaction around it would make it three."""
    harness = PostgresHarness(postgres_server, postgres_server.create_database())
    ledger = await harness.open("one")
    assert await ledger.heartbeat(BEAT, ["r"]) == ["r"]
    observer = harness.pool()
    last = "SELECT query FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    queries = await observer.run(lambda db: db.fetch(last))
    assert sum(query.startswith("WITH recorded") for (query,) in queries) == 1
    await observer.close()
    await harness.close()


@pytest.mark.parametrize("level", ["read committed", "repeatable read", "serializable"])
async def test_one_of_many_heartbeats_gets_a_role(level: str, postgres_server: PostgresServer) -> None:
    """Whatever the default isolation of the database."""
    database = postgres_server.create_database()
    postgres_server.run(f"ALTER DATABASE {database} SET default_transaction_isolation = '{level}'")
    harness = PostgresHarness(postgres_server, database)
    ledgers = [await harness.open(f"worker-{number}") for number in range(8)]
    for role in range(5):
        wanted = [str(earlier) for earlier in range(role + 1)]
        granted = await asyncio.gather(*(ledger.heartbeat(BEAT, wanted) for ledger in ledgers))
        assert sorted(name for names in granted for name in names) == wanted
    await harness.close()
