"""The ledger in PostgreSQL keeps the contract."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tests.ledgers.postgres.places import PostgresHarness

from skyferry.testing.ledger import LedgerConformance, LedgerHarness
from skyferry.testing.servers import PostgresServer


class TestPostgresLedger(LedgerConformance):
    """The contract."""

    contracted = False

    @pytest.fixture
    async def harness(self, postgres_server: PostgresServer) -> AsyncIterator[LedgerHarness]:
        harness = PostgresHarness(postgres_server)
        if self.contracted:
            await harness.contract()
        yield harness
        await harness.close()


class TestMigratedPostgresLedger(TestPostgresLedger):
    """The contract, once `skyferry ledger migrate` has applied all contractions."""

    contracted = True
