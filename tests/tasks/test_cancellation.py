"""A cancellation ends a task, whichever step of a driver it meets."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from skyferry.clouds.credentials import fixed_credentials
from skyferry.config.servers.tls import TlsSettings
from skyferry.errors import LedgerError
from skyferry.postgres.address import parse_postgres
from skyferry.postgres.pool import PoolOptions, PostgresPool
from skyferry.queues.nats.connection import NatsConnection, NatsOptions
from skyferry.queues.nats.scheme import parse_nats
from skyferry.redis.address import parse_redis
from skyferry.redis.client import RedisClient, RedisOptions
from skyferry.tasks.cancellation import keep_cancellation
from skyferry.testing.servers import NatsServer, PostgresServer, RedisServer

STEPS = 40  # more than a driver takes to connect and to get one answer
Request = tuple[Callable[[], Awaitable[object]], Callable[[], Awaitable[None]]]  # a call, and what closes its client


async def find_survivors(make: Callable[[], Request]) -> list[int]:
    """Return the steps after which a cancelled task went on."""
    survivors = []
    for steps in range(STEPS):
        call, close = make()
        task = asyncio.ensure_future(call())
        for _ in range(steps):
            await asyncio.sleep(0)
        was_asked = task.cancel()
        await asyncio.wait([task])
        if was_asked and not task.cancelled():
            survivors.append(steps)
        await close()
    return survivors


async def test_a_client_of_redis(redis_server: RedisServer) -> None:
    """The driver itself loses one at several steps of connecting."""

    def make() -> Request:
        address = parse_redis(f"redis://{redis_server.address}/x", "", names=1, allow_plain=False)
        client = RedisClient("x", RedisOptions(address), fixed_credentials(""), LedgerError)
        return lambda: client.run(lambda redis: redis.ping()), client.close

    assert await find_survivors(make) == []


async def test_a_client_of_nats(nats_server: NatsServer) -> None:
    """The driver itself loses one, as that of Redis does."""

    def make() -> Request:
        address = parse_nats(f"nats://{nats_server.address}/s/c?subject=s", allow_plain=False)
        connection = NatsConnection("n", NatsOptions(address, False, TlsSettings(), 30.0), fixed_credentials(""))
        return connection.find_stream, connection.close

    assert await find_survivors(make) == []


async def test_a_client_of_postgresql(postgres_server: PostgresServer) -> None:
    def make() -> Request:
        url = f"postgresql://{postgres_server.user}@{postgres_server.address}/postgres"
        options = PoolOptions(parse_postgres(url, "", names=0, allow_plain=False))
        pool = PostgresPool("p", options, fixed_credentials(postgres_server.password), LedgerError)
        return lambda: pool.run(lambda db: db.fetchval("SELECT 1")), pool.close

    assert await find_survivors(make) == []


async def test_an_error_instead_of_a_cancellation_is_its_cause() -> None:
    async def lose() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            raise ValueError("lost") from None

    task = asyncio.ensure_future(keep_cancellation(lose()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_work_within_a_cancelled_task_ends_as_it_does() -> None:
    """Such as that which cleans up."""

    async def clean_up() -> str:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            return await keep_cancellation(asyncio.sleep(0, "done"))
        return ""

    task = asyncio.ensure_future(clean_up())
    await asyncio.sleep(0)
    task.cancel()
    assert await task == "done"
