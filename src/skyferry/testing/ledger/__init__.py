"""The conformance suite of the `Ledger` port. An adapter's test module is a fixture and a class line:

class TestMyLedger(LedgerConformance):
    @pytest.fixture
    async def harness(self) -> AsyncIterator[LedgerHarness]: ...
"""

from __future__ import annotations

from skyferry.testing.ledger.claims import ClaimCases
from skyferry.testing.ledger.dead_letters import LetterCases
from skyferry.testing.ledger.harness import LedgerHarness
from skyferry.testing.ledger.held_deletes import HeldCases
from skyferry.testing.ledger.listing import ListingCases
from skyferry.testing.ledger.refusals import RefusalCases
from skyferry.testing.ledger.settlements import SettlementCases
from skyferry.testing.ledger.uploads import UploadCases

__all__ = ["LedgerConformance", "LedgerHarness"]


class LedgerConformance(ClaimCases, SettlementCases, LetterCases, RefusalCases, UploadCases, ListingCases, HeldCases):
    """Every sentence of the `Ledger` contract."""
