"""The ledger in Redis keeps the contract."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tests.ledgers.redis.places import RedisHarness

from skyferry.testing.ledger import LedgerConformance, LedgerHarness
from skyferry.testing.servers import RedisServer


class TestRedisLedger(LedgerConformance):
    """The contract."""

    @pytest.fixture
    async def harness(self, redis_server: RedisServer) -> AsyncIterator[LedgerHarness]:
        harness = RedisHarness(redis_server)
        yield harness
        await harness.close()
