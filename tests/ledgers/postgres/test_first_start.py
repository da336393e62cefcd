"""Workers that start at the same moment make the schema of ledger and queue once."""

from __future__ import annotations

import asyncio

from tests.ledgers.postgres.places import PostgresHarness

from skyferry.clock import SystemClock
from skyferry.clouds.credentials import fixed_credentials
from skyferry.errors import QueueError
from skyferry.ports import Depth
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
