"""A Redis Stream keeps the contract."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from itertools import count

import pytest
from tests.queues.receivers import until_receivers_wait

from skyferry.clouds.credentials import fixed_credentials
from skyferry.errors import QueueError
from skyferry.queues.redis.queue import RedisQueue
from skyferry.queues.redis.scheme import FORM
from skyferry.redis.address import parse_redis
from skyferry.redis.client import RedisClient, RedisOptions
from skyferry.testing.clock import ManualClock
from skyferry.testing.queue import QueueConformance, QueueHarness, QueueTiming
from skyferry.testing.servers import RedisServer

STREAMS = count(1)
REAL = 5.0  # seconds that really pass: the age of an entry is in its id


class RedisHarness(QueueHarness):
    """A stream of its own. Time passes by moving the times of leases and delays into the past."""

    timing = QueueTiming(lease=30, delay=10, slack=0, idle=20, poll=1)

    def __init__(self, server: RedisServer) -> None:
        self.url = f"redis://{server.address}/stream-{next(STREAMS)}"
        self.clock, self.opened = ManualClock(time.time()), list[RedisQueue]()

    async def open(self) -> RedisQueue:
        address = parse_redis(self.url, FORM, names=1, allow_plain=False)
        client = RedisClient("redis", RedisOptions(address), fixed_credentials(""), QueueError)
        self.opened.append(RedisQueue("redis", client, self.clock, self.timing.lease))
        return self.opened[-1]

    async def pass_time(self, seconds: float) -> None:
        """Let receivers look that the clock wakes."""
        real = seconds if seconds == REAL else 0.0
        await asyncio.sleep(real)
        await until_receivers_wait([queue._notifier for queue in self.opened])
        queue = self.opened[0]
        for key in queue._keys[1:3]:
            moved = {name: score - (seconds - real) * 1000 for name, score in await self.scores(queue, key)}
            if moved:
                await self.store(queue, key, moved)
        await self.clock.advance(seconds)
        await asyncio.sleep(0.02)

    @staticmethod
    async def store(queue: RedisQueue, key: str, scores: dict[bytes, float]) -> None:
        await queue._client.run(lambda client: client.zadd(key, scores))

    @staticmethod
    async def scores(queue: RedisQueue, key: str) -> list[tuple[bytes, float]]:
        found: list[tuple[bytes, float]] = await queue._client.run(
            lambda client: client.zrange(key, 0, -1, withscores=True)
        )
        return found


class TestRedisQueue(QueueConformance):
    """The contract."""

    @pytest.fixture
    async def harness(self, redis_server: RedisServer) -> AsyncIterator[QueueHarness]:
        harness = RedisHarness(redis_server)
        yield harness
        for queue in harness.opened:
            await queue.close()
