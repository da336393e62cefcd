"""Workers that start at the same moment make the schema of ledger and queue once."""

from __future__ import annotations

import asyncio

import pytest
from tests.ledgers.postgres.old_program import make_schema
from tests.ledgers.postgres.places import PostgresHarness

from skyferry.clock import SystemClock
from skyferry.clouds.credentials import fixed_credentials
from skyferry.errors import QueueError
from skyferry.ports import Depth
from skyferry.postgres import schema as steps_of_schema
from skyferry.postgres.address import parse_postgres
from skyferry.postgres.pool import PoolOptions, PostgresPool
from skyferry.queues.postgres.queue import PostgresQueue
from skyferry.queues.postgres.scheme import FORM
from skyferry.testing.servers import PostgresServer


async def test_ledgers_and_queues_start_together(postgres_server: PostgresServer) -> None:
    for _ in range(5):
        harness = PostgresHarness(postgres_server)
        url = f"postgresql://{postgres_server.user}@{postgres_server.address}/postgres/q?schema={harness.schema}"
        options = PoolOptions(parse_postgres(url, FORM, names=1, allow_plain=False))

        async def look(owner: str, options: PoolOptions = options) -> Depth:
            pool = PostgresPool("q", options, fixed_credentials(postgres_server.password), QueueError)
            queue = PostgresQueue("q", pool, owner, SystemClock())
            try:
                return await queue.depth()
            finally:
                await queue.close()

        await asyncio.gather(*(harness.open(name) for name in "abc"), *map(look, "abc"))
        await harness.close()


async def execute(harness: PostgresHarness, sql: str) -> None:
    pool = harness.pool()
    await pool.run(lambda db: db.execute(sql))
    await pool.close()


@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
async def test_ledgers_start_together_with_a_stricter_isolation(postgres_server: PostgresServer, level: str) -> None:
    """One that has waited sees the tables of the first."""
    harness = PostgresHarness(postgres_server, postgres_server.create_database())
    await execute(harness, f"ALTER DATABASE {harness.database} SET default_transaction_isolation = '{level}'")
    await asyncio.gather(*map(harness.open, "abcd"))
    await harness.close()


@pytest.mark.parametrize("limit", ["statement_timeout = 100", "lock_timeout = 100"])
async def test_limits_of_the_server_do_not_end_a_step(
    postgres_server: PostgresServer, limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor the wait for another process that applies one. An index of a large ledger takes minutes."""
    monkeypatch.setattr(steps_of_schema, "TRIES", 1)
    harness = PostgresHarness(postgres_server, postgres_server.create_database())
    await make_schema(harness)
    wait = "RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.5); END $$"
    await execute(harness, f"CREATE FUNCTION {harness.schema}.wait() {wait}")
    when = "ON ddl_command_end WHEN TAG IN ('CREATE INDEX')"
    await execute(harness, f"CREATE EVENT TRIGGER slow {when} EXECUTE FUNCTION {harness.schema}.wait()")
    await execute(harness, f"ALTER DATABASE {harness.database} SET {limit}")
    await asyncio.gather(*map(harness.open, "ab"))
    await harness.close()
