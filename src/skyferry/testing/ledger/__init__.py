"""The conformance suite of the `Ledger` port. An adapter's test module has a fixture in a class:

class TestMyLedger(LedgerConformance):
    @pytest.fixture
    async def harness(self) -> AsyncIterator[LedgerHarness]: ...
"""

from __future__ import annotations

from skyferry.testing.ledger.claims import ClaimCases
from skyferry.testing.ledger.dead_letters import DeadLetterCases
from skyferry.testing.ledger.harness import LedgerHarness
from skyferry.testing.ledger.held_deletes import HeldDeleteCases
from skyferry.testing.ledger.housekeeping import HousekeepingCases
from skyferry.testing.ledger.limits import BreakerCases, RateCases
from skyferry.testing.ledger.placements import PlacementCases
from skyferry.testing.ledger.refusals import RefusalCases
from skyferry.testing.ledger.settlements import SettlementCases
from skyferry.testing.ledger.transfers import TransferCases
from skyferry.testing.ledger.uploads import UploadLogCases
from skyferry.testing.ledger.workers import WorkerCases

__all__ = ["LedgerConformance", "LedgerHarness"]


class LedgerConformance(
    ClaimCases,
    SettlementCases,
    PlacementCases,
    TransferCases,
    UploadLogCases,
    DeadLetterCases,
    RefusalCases,
    HeldDeleteCases,
    WorkerCases,
    RateCases,
    BreakerCases,
    HousekeepingCases,
):
    """Every sentence of the `Ledger` contract, in a class for each part of the port."""
