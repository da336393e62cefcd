"""The memory ledger keeps the contract."""

from __future__ import annotations

import pytest

from skyferry.ledgers.memory.ledger import MemoryLedger
from skyferry.ledgers.memory.state import MemoryState
from skyferry.ports import Ledger
from skyferry.testing.clock import ManualClock
from skyferry.testing.ledger import LedgerConformance, LedgerHarness


class MemoryHarness(LedgerHarness):
    """Ledgers on one state."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.state = MemoryState()

    async def open(self, owner: str, lease: float = 30.0) -> Ledger:
        return MemoryLedger(owner, self.clock, lease, self.state)

    async def pass_time(self, seconds: float) -> None:
        await self.clock.advance(seconds)

    async def now(self) -> float:
        return self.clock.time()


class TestMemoryLedger(LedgerConformance):
    """The contract."""

    @pytest.fixture
    def harness(self) -> LedgerHarness:
        return MemoryHarness()
