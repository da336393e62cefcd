"""The conformance suite of the `EventQueue` port. An adapter's test module has a fixture in a class:

    class TestMyQueue(QueueConformance):
        @pytest.fixture
        async def harness(self) -> AsyncIterator[QueueHarness]: ...

Differences between providers are data: the queue's `traits` name missing abilities, `deviations` (test -> reason) name
single sentences that it breaks. A test of a deviation MUST fail, so that the list stays true.
"""

from __future__ import annotations

from skyferry.testing.queue.closing import ClosingCases
from skyferry.testing.queue.delivery import DeliveryCases
from skyferry.testing.queue.depth import DepthCases
from skyferry.testing.queue.harness import QueueHarness, QueueTiming
from skyferry.testing.queue.leases import LeaseCases
from skyferry.testing.queue.priorities import PriorityCases
from skyferry.testing.queue.waiting import WaitingCases

__all__ = ["QueueConformance", "QueueHarness", "QueueTiming"]


class QueueConformance(DeliveryCases, WaitingCases, LeaseCases, PriorityCases, DepthCases, ClosingCases):
    """Every sentence of the `EventQueue` contract."""
