"""Leases: extended, lost, ended by an acknowledgement or a release."""

from __future__ import annotations

from skyferry.ports import EventQueue, Message, Outgoing
from skyferry.testing.queue.harness import QueueCases, QueueHarness, list_bodies


class LeaseCases(QueueCases):
    """The sentences about `extend`, `ack` and `release`."""

    async def test_a_lease_that_ends_brings_the_message_again(
        self, one: EventQueue, two: EventQueue, harness: QueueHarness
    ) -> None:
        """Not earlier, and then with the same id and the next attempt number."""
        await one.send([Outgoing(b"x")])
        (first,) = await self.get(one, harness)
        assert await self.get(two, harness) == []
        await harness.pass_time(one.lease + harness.timing.slack)
        (again,) = await self.get(two, harness)
        assert (again.id, again.body, again.attempt) == (first.id, b"x", 2)
        assert again.receipt != first.receipt

    async def test_extend_keeps_the_message(self, one: EventQueue, two: EventQueue, harness: QueueHarness) -> None:
        """Each call extends the lease to `lease` seconds from now."""
        self.needs(one.traits.max_hold > one.lease, "cannot extend leases")
        await one.send([Outgoing(b"x")])
        held = await self.get(one, harness)
        for _ in range(3):
            await harness.pass_time(one.lease * 0.6)
            assert await one.extend(held) == []
        assert await self.get(two, harness) == []
        await harness.pass_time(one.lease + harness.timing.slack)
        assert list_bodies(await self.get(two, harness)) == [b"x"]

    async def test_extend_tells_what_is_lost(self, one: EventQueue, two: EventQueue, harness: QueueHarness) -> None:
        """A stale receipt is returned, and does not touch the lease of the message's current holder."""
        await one.send([Outgoing(b"x"), Outgoing(b"y")])
        held = await self.get(one, harness)
        await one.ack([m for m in held if m.body == b"y"])
        await harness.pass_time(one.lease + harness.timing.slack)
        await self.get(two, harness)
        await harness.pass_time(one.lease * 0.6)
        assert sorted(list_bodies(await one.extend(held))) == [b"x", b"y"]
        await harness.pass_time(one.lease * 0.4 + harness.timing.slack)
        assert list_bodies(await self.get(one, harness)) == [b"x"]

    async def test_extend_for_longer_than_the_lease(
        self, one: EventQueue, two: EventQueue, harness: QueueHarness
    ) -> None:
        """Many at once, for `seconds` from now; acknowledged messages do not make the others fail."""
        self.needs(one.traits.max_hold > one.lease, "cannot extend leases")
        sent = [b"%d" % number for number in range(12)]
        await one.send([Outgoing(body) for body in sent])
        held: list[Message] = []
        while len(held) < len(sent):
            held += await self.get(one, harness)
        await one.ack(held[:2])
        seconds = 2 * (one.lease + harness.timing.slack)
        lost = await one.extend(held, seconds)
        assert {message.id for message in lost} <= {message.id for message in held[:2]}
        await harness.pass_time(one.lease + harness.timing.slack)
        assert await self.get(two, harness) == []
        await one.ack(held[2:4])
        await harness.pass_time(seconds - one.lease)
        again: list[bytes] = []
        while len(again) < 8:
            batch = await self.get(two, harness)
            assert batch, "a message did not come back when its longer lease ended"
            again += list_bodies(batch)
        assert sorted(again) == sorted(list_bodies(held[4:]))

    async def test_an_ack_is_for_ever(self, one: EventQueue, two: EventQueue, harness: QueueHarness) -> None:
        """An acknowledged message is never redelivered, others are; acknowledging twice is no error."""
        await one.send([Outgoing(b"x"), Outgoing(b"y")])
        held = await self.get(one, harness)
        for _ in range(2):
            await one.ack([m for m in held if m.body == b"x"])
        await harness.pass_time(one.lease + harness.timing.slack)
        assert list_bodies(await self.get(two, harness)) == [b"y"]

    async def test_a_stale_ack_removes_nothing(self, one: EventQueue, two: EventQueue, harness: QueueHarness) -> None:
        """And is no error."""
        await one.send([Outgoing(b"x")])
        stale = await self.get(one, harness)
        await harness.pass_time(one.lease + harness.timing.slack)
        await self.get(two, harness)
        await one.ack(stale)
        await harness.pass_time(one.lease + harness.timing.slack)
        assert list_bodies(await self.get(one, harness)) == [b"x"]

    async def test_release_gives_back_at_once(self, one: EventQueue, two: EventQueue, harness: QueueHarness) -> None:
        """Without a delay, any client receives it, long before the lease would have ended."""
        await one.send([Outgoing(b"x")])
        await one.release(await self.get(one, harness), 0)
        (again,) = await self.get(two, harness)
        assert (again.body, again.attempt) == (b"x", 2)

    async def test_release_waits_for_the_delay(self, one: EventQueue, harness: QueueHarness) -> None:
        """Even if the delay is longer than the lease."""
        delay = one.lease + harness.timing.delay
        await one.send([Outgoing(b"x")])
        await one.release(await self.get(one, harness), delay)
        await harness.pass_time(delay * 0.9 - harness.timing.slack)
        assert await self.get(one, harness) == []
        await harness.pass_time(delay * 0.1 + 2 * harness.timing.slack)
        assert list_bodies(await self.get(one, harness)) == [b"x"]

    async def test_a_stale_release_gives_nothing_back(
        self, one: EventQueue, two: EventQueue, harness: QueueHarness
    ) -> None:
        """A message leased by another client stays leased."""
        await one.send([Outgoing(b"x")])
        stale = await self.get(one, harness)
        await harness.pass_time(one.lease + harness.timing.slack)
        held = await self.get(two, harness)
        await one.release(stale, 0)
        assert await self.get(one, harness) == []
        assert await two.extend(held) == []

    async def test_a_delayed_message_comes_when_it_is_due(self, one: EventQueue, harness: QueueHarness) -> None:
        """Not earlier; at once from a queue that ignores delays."""
        delay = min(harness.timing.delay, one.traits.max_send_delay)
        await one.send([Outgoing(b"late", delay=delay), Outgoing(b"now")])
        first = list_bodies(await self.get(one, harness))
        if delay == 0:
            assert sorted(first + list_bodies(await self.get(one, harness))) == [b"late", b"now"]
            return
        assert first == [b"now"]
        await harness.pass_time(delay + harness.timing.slack)
        assert list_bodies(await self.get(one, harness)) == [b"late"]
