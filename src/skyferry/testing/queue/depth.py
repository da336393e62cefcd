"""The depth of a queue."""

from __future__ import annotations

import pytest

from skyferry.ports import Depth, EventQueue, Outgoing
from skyferry.testing.queue.harness import QueueCases, QueueHarness


class DepthCases(QueueCases):
    """The sentences about `depth`."""

    async def test_depth_tells_how_full_it_is(self, one: EventQueue, two: EventQueue, harness: QueueHarness) -> None:
        """Counts of ready, leased and delayed messages, of all clients, and the age of the oldest."""
        self.needs(one.traits.depth == "exact", "does not report an exact depth")
        assert await one.depth() == Depth(0, 0, 0, 0.0)
        await one.send([Outgoing(b"x")] * 5 + [Outgoing(b"y", delay=100)] * 2)
        held = await self.get(two, harness, 3)
        await harness.pass_time(5)
        depth = await one.depth()
        assert (depth.ready, depth.leased, depth.delayed) == (2, 3, 2)
        assert depth.oldest_age == pytest.approx(5, abs=0.5)
        await two.ack(held)
        assert (await one.depth()).leased == 0
        await harness.pass_time(100)
        assert (await one.depth()).ready == 4

    async def test_a_lease_that_ended_counts_as_ready(self, one: EventQueue, harness: QueueHarness) -> None:
        """Even while no client receives."""
        self.needs(one.traits.depth == "exact", "does not report an exact depth")
        await one.send([Outgoing(b"x")])
        await self.get(one, harness)
        await harness.pass_time(one.lease)
        depth = await one.depth()
        assert (depth.ready, depth.leased, depth.delayed) == (1, 0, 0)
