"""A queue in PostgreSQL keeps the contract."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from itertools import count
from typing import Any

import pytest
from tests.queues.receivers import until_receivers_wait

from skyferry.clouds.credentials import fixed_credentials
from skyferry.errors import QueueError
from skyferry.postgres.address import parse_postgres
from skyferry.postgres.pool import PoolOptions, PostgresPool
from skyferry.queues.postgres.queue import PostgresQueue
from skyferry.queues.postgres.scheme import FORM
from skyferry.testing.clock import ManualClock
from skyferry.testing.queue import QueueConformance, QueueHarness, QueueTiming
from skyferry.testing.servers import PostgresServer

OWNERS = count(1)


class PostgresHarness(QueueHarness):
    """A queue of its own, in a schema that the tests share. Time passes by moving the times of its rows into the past."""

    timing = QueueTiming(lease=30, delay=10, slack=0, idle=20, poll=1)
    pooler = ""

    def __init__(self, server: PostgresServer, database: str) -> None:
        self.server, self.database, self.queue = server, database, f"queue {next(OWNERS)}"
        self.url = f"postgresql://{server.user}@{server.address}/{database}/{self.queue}?pooler={self.pooler}"
        self.clock = ManualClock(time.time())
        self.opened: list[PostgresQueue] = []

    async def open(self) -> PostgresQueue:
        address = parse_postgres(self.url, FORM, names=1, allow_plain=False)
        pool = PostgresPool("pg", PoolOptions(address), fixed_credentials(self.server.password), QueueError)
        queue = PostgresQueue("pg", pool, f"owner-{next(OWNERS)}", self.clock, self.timing.lease)
        self.opened.append(queue)
        return queue

    async def pass_time(self, seconds: float) -> None:
        """Move the rows and the clock, and let the receivers look that this wakes."""
        columns = ("enqueued_at", "rank", "until")
        moved = ", ".join(f"{name} = {name} - {seconds} * interval '1 second'" for name in columns)
        pool = self.opened[0]._pool
        async with asyncio.timeout(20):  # the connections that listen are made in real time
            while any(queue._listener._task and not queue._listener.listening for queue in self.opened):
                await asyncio.sleep(0.01)
                await self.clock.advance(0.01)  # a connection that failed is tried again
        await until_receivers_wait([queue._notifier for queue in self.opened])
        await pool.run(lambda connection: self._move(connection, moved))
        await self.clock.advance(seconds)
        await asyncio.sleep(0.02)

    async def _move(self, connection: Any, moved: str) -> None:
        """Lock the table first: a receiver would skip rows that only this update has locked."""
        async with connection.transaction():
            await connection.execute("LOCK TABLE skyferry.message IN EXCLUSIVE MODE")
            await connection.execute(f"UPDATE skyferry.message SET {moved} WHERE queue = $1", self.queue)


class PooledHarness(PostgresHarness):
    """The same without prepared statements and notifications."""

    pooler = "transaction"


@pytest.fixture(scope="module")
def database(postgres_server: PostgresServer) -> str:
    return postgres_server.create_database()


class TestPostgresQueue(QueueConformance):
    """The contract."""

    kind: type[PostgresHarness] = PostgresHarness

    @pytest.fixture
    async def harness(self, postgres_server: PostgresServer, database: str) -> AsyncIterator[QueueHarness]:
        harness = self.kind(postgres_server, database)
        await (await harness.open()).depth()  # makes the schema
        yield harness
        for queue in harness.opened:
            await queue.close()


class TestPostgresQueueBehindAPooler(TestPostgresQueue):
    """The contract, by polling."""

    kind = PooledHarness
