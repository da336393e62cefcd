"""A server that accepts connections and answers nothing is named, and what was sent to it as a password is not."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from skyferry.clock import SystemClock
from skyferry.clouds.credentials import fixed_credentials
from skyferry.config.servers.tls import TlsSettings
from skyferry.errors import QueueError
from skyferry.ports import EventQueue
from skyferry.postgres.address import parse_postgres
from skyferry.postgres.pool import PoolOptions, PostgresPool
from skyferry.queues.nats.connection import NatsConnection, NatsOptions
from skyferry.queues.nats.queue import NatsQueue
from skyferry.queues.nats.scheme import parse_nats
from skyferry.queues.postgres.queue import PostgresQueue
from skyferry.queues.redis.queue import RedisQueue
from skyferry.redis.address import parse_redis
from skyferry.redis.client import RedisClient, RedisOptions

SECRET = fixed_credentials("a secret")


def open_queue(kind: str, address: str) -> EventQueue:
    clock = SystemClock()
    if kind == "postgresql":
        database = parse_postgres(f"postgresql://ferry@{address}/d/q", "", names=1, allow_plain=False)
        pool = PostgresPool("q", PoolOptions(database, connect_timeout=0.2), SECRET, QueueError)
        return PostgresQueue("q", pool, "me", clock)
    if kind == "redis":
        server = parse_redis(f"redis://ferry@{address}/q", "", names=1, allow_plain=False)
        return RedisQueue("q", RedisClient("q", RedisOptions(server, timeout=0.2), SECRET, QueueError), clock)
    options = NatsOptions(parse_nats(f"nats://ferry@{address}/q/c", allow_plain=False), False, TlsSettings(), 30.0, 1.0)
    return NatsQueue("q", NatsConnection("q", options, SECRET), clock)


@pytest.mark.parametrize("kind", ["postgresql", "redis", "nats"])
async def test_a_server_that_does_not_answer_is_named(kind: str) -> None:
    async with await asyncio.get_running_loop().create_server(asyncio.Protocol, "127.0.0.1", 0) as server:
        address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        queue = open_queue(kind, address)
        with pytest.raises(QueueError, match=address) as caught:
            await queue.depth()
        assert "a secret" not in f"{caught.value} {caught.value.hint}"
        assert "Check that the server runs" in caught.value.hint
        with suppress(QueueError):
            await queue.close()
