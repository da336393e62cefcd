"""The SQLite ledger keeps the contract."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from skyferry.ledgers.sqlite import SqliteLedger
from skyferry.ports import Ledger
from skyferry.testing.clock import ManualClock
from skyferry.testing.ledger import LedgerConformance, LedgerHarness


class SqliteHarness(LedgerHarness):
    """Ledgers on one file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.clock = ManualClock()
        self.opened: list[SqliteLedger] = []

    async def open(self, owner: str, lease: float = 30.0) -> Ledger:
        self.opened.append(SqliteLedger(self.path, owner, self.clock, lease))
        return self.opened[-1]

    async def pass_time(self, seconds: float) -> None:
        await self.clock.advance(seconds)

    def now(self) -> float:
        return self.clock.time()

    async def close(self) -> None:
        """All of them."""
        for ledger in self.opened:
            await ledger.close()


class TestSqliteLedger(LedgerConformance):
    """The contract."""

    @pytest.fixture
    async def harness(self, tmp_path: Path) -> AsyncIterator[LedgerHarness]:
        harness = SqliteHarness(tmp_path / "ledger.db")
        yield harness
        await harness.close()
