"""Waiting receivers and the events that wake them."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from skyferry.ports import EventQueue, Outgoing
from skyferry.testing.queue.harness import QueueCases, QueueHarness, finish_soon, list_bodies


class WaitingCases(QueueCases):
    """The sentences about the wait of `receive`."""

    async def test_an_empty_queue_answers_after_the_wait(self, one: EventQueue, harness: QueueHarness) -> None:
        """`receive` waits at most `wait` seconds, then returns []."""
        call = asyncio.create_task(one.receive(1, harness.timing.idle))
        await harness.pass_time(harness.timing.idle + harness.timing.slack)
        assert await finish_soon(call) == []

    async def test_a_send_wakes_a_receiver(self, one: EventQueue, harness: QueueHarness) -> None:
        """At once; the receiver does not wait for more messages up to `limit`."""
        call = asyncio.create_task(one.receive(10, 600))
        await harness.pass_time(1)
        await one.send([Outgoing(b"x")])
        assert list_bodies(await finish_soon(call)) == [b"x"]

    async def test_a_send_elsewhere_wakes_a_receiver(
        self, one: EventQueue, two: EventQueue, harness: QueueHarness
    ) -> None:
        """Another client's message arrives within the time that the adapter states."""
        call = asyncio.create_task(one.receive(10, 600))
        await harness.pass_time(1)
        await two.send([Outgoing(b"x")])
        await harness.pass_time(harness.timing.poll)
        assert list_bodies(await finish_soon(call)) == [b"x"]

    async def test_a_delay_that_ends_wakes_a_receiver(self, one: EventQueue, harness: QueueHarness) -> None:
        """A waiting receiver gets messages that become ready meanwhile."""
        await one.send([Outgoing(b"x", delay=harness.timing.delay)])
        call = asyncio.create_task(one.receive(10, 600))
        await harness.pass_time(harness.timing.delay + harness.timing.slack)
        assert list_bodies(await finish_soon(call)) == [b"x"]

    async def test_a_release_wakes_a_receiver(self, one: EventQueue, harness: QueueHarness) -> None:
        """At once, like a send."""
        await one.send([Outgoing(b"x")])
        held = await self.get(one, harness)
        call = asyncio.create_task(one.receive(10, 600))
        await harness.pass_time(1)
        await one.release(held, 0)
        assert list_bodies(await finish_soon(call)) == [b"x"]

    async def test_a_cancelled_wait_takes_nothing(self, one: EventQueue, harness: QueueHarness) -> None:
        """A receiver cancelled during its wait does not take later messages."""
        call = asyncio.create_task(one.receive(10, 600))
        await harness.pass_time(1)
        call.cancel()
        with suppress(asyncio.CancelledError):
            await call
        await one.send([Outgoing(b"x")])
        assert list_bodies(await self.get(one, harness)) == [b"x"]
