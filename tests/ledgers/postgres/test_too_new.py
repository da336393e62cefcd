"""A schema that a newer release has contracted, and an older program that meets it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tests.ledgers.postgres.places import PostgresHarness
from tests.ledgers.postgres.test_schema import execute, maintain

from skyferry.errors import LedgerIncompatible
from skyferry.testing.servers import PostgresServer

SAYS = "from version 98, and this Skyferry knows .*Update Skyferry"


@pytest.fixture
async def harness(postgres_server: PostgresServer) -> AsyncIterator[PostgresHarness]:
    """Ledgers in a database without any other client."""
    harness = PostgresHarness(postgres_server, postgres_server.create_database())
    yield harness
    await harness.close()


async def test_a_schema_that_is_too_new_is_not_called_damaged(harness: PostgresHarness) -> None:
    """The check would miss the tables that a contraction has removed."""
    await harness.open("one")
    await execute(harness, f"COMMENT ON TABLE {harness.schema}.transfers IS 'skyferry ledger 99, compatible from 98'")
    await execute(harness, f"DROP TABLE {harness.schema}.places")
    with pytest.raises(LedgerIncompatible, match=SAYS):
        await maintain(harness).find_damage()
