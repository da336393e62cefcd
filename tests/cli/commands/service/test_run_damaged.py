"""A drain ends with 0 whatever state the ledger is in."""

from __future__ import annotations

import pytest

from skyferry.cli.commands.service.run import _count_letters
from skyferry.errors import LedgerDamaged
from skyferry.ledgers.memory.ledger import MemoryLedger
from skyferry.testing.clock import ManualClock


class Damaged(MemoryLedger):
    """Cannot be read any more."""

    async def count_dead_letters(self) -> list[tuple[str, str, int]]:
        raise LedgerDamaged


async def test_a_damaged_ledger_does_not_change_how_a_drain_ends() -> None:
    ledger = Damaged("me", ManualClock())
    assert await _count_letters(ledger, drained=True) == 0
    with pytest.raises(LedgerDamaged):  # `run --until-idle` was asked how it ended
        await _count_letters(ledger, drained=False)
