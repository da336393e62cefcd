"""The end of a client."""

from __future__ import annotations

import asyncio

import pytest

from skyferry.errors import QueueError
from skyferry.ports import EventQueue, Outgoing
from skyferry.testing.queue.harness import QueueCases, QueueHarness, finish_soon, list_bodies


class ClosingCases(QueueCases):
    """The sentences about `close`."""

    async def test_close_frees_what_it_held_and_nothing_else(
        self, one: EventQueue, two: EventQueue, harness: QueueHarness
    ) -> None:
        """Others get its messages at once; the leases of others continue; delayed messages stay delayed."""
        self.needs(one.traits.frees_on_close, "lets leases run out")
        later = [Outgoing(b"later", delay=100)] if one.traits.max_send_delay >= 100 else []
        await one.send([Outgoing(b"mine"), *later])
        held = await self.get(one, harness)
        await one.send([Outgoing(b"yours")])
        assert list_bodies(await self.get(two, harness)) == [b"yours"]
        await one.close()
        (again,) = await self.get(two, harness)
        assert (again.id, again.attempt) == (held[0].id, 2)

    async def test_after_close_it_is_closed(self, one: EventQueue, two: EventQueue, harness: QueueHarness) -> None:
        """Closing again is no error, but use is; other clients continue."""
        for _ in range(2):
            await one.close()
        with pytest.raises(QueueError):
            await one.send([Outgoing(b"x")])
        with pytest.raises(QueueError):
            await one.receive(1, 0)
        await two.send([Outgoing(b"x")])
        assert list_bodies(await self.get(two, harness)) == [b"x"]

    async def test_close_ends_a_wait(self, one: EventQueue, harness: QueueHarness) -> None:
        """A waiting receiver gets []."""
        call = asyncio.create_task(one.receive(1, 600))
        await harness.pass_time(1)
        await one.close()
        assert await finish_soon(call) == []
