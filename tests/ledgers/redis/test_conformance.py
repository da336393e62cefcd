"""The ledger in Redis keeps the contract."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tests.ledgers.redis.places import RedisHarness

from skyferry.testing.ledger import LedgerConformance, LedgerHarness
from skyferry.testing.servers import RedisServer


@pytest.mark.parametrize("compressed", [False, True], ids=["before-migration", "migrated"])
class TestRedisLedger(LedgerConformance):
    """The contract, with records that older programs can read, and after `skyferry ledger migrate`."""

    @pytest.fixture
    async def harness(self, redis_server: RedisServer, compressed: bool) -> AsyncIterator[LedgerHarness]:
        harness = RedisHarness(redis_server)
        if compressed:
            await harness.migrate()
        yield harness
        await harness.close()
