"""The memory and the PostgreSQL ledger answer the same to any sequence of operations of two processes."""

from __future__ import annotations

from typing import ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import rule
from tests.ledgers.postgres.places import PostgresHarness
from tests.ledgers.test_state_machine import LedgersAgree

from skyferry.ledgers.memory.ledger import MemoryLedger
from skyferry.ledgers.rules import to_ticks
from skyferry.ports import Ledger
from skyferry.testing.servers import PostgresServer


class AgreeWithPostgres(LedgersAgree):
    """Both have the time of one clock."""

    server: ClassVar[PostgresServer]
    harness: PostgresHarness | None = None

    def _open(self, owner: str) -> tuple[Ledger, Ledger]:
        return MemoryLedger(owner, self.clock, 30.0, self.state), self.loop.run_until_complete(
            self._open_postgres(owner)
        )

    async def _open_postgres(self, owner: str) -> Ledger:
        self.harness = self.harness or PostgresHarness(self.server)
        ledger = await self.harness.open(owner)
        await self.harness.set_time(to_ticks(self.clock.time()))
        return ledger

    @rule(seconds=st.sampled_from([0.5, 8.0, 31.0]))
    def pass_time(self, seconds: float) -> None:
        super().pass_time(seconds)
        assert self.harness
        self.loop.run_until_complete(self.harness.set_time(to_ticks(self.clock.time())))

    def teardown(self) -> None:
        assert self.harness
        self.loop.run_until_complete(self.harness.close())
        super().teardown()


@pytest.fixture(scope="module", autouse=True)
def _server(postgres_server: PostgresServer) -> None:
    AgreeWithPostgres.server = postgres_server


TestAgreeWithPostgres = AgreeWithPostgres.TestCase
TestAgreeWithPostgres.settings = settings(
    max_examples=15, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
