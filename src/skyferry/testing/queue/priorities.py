"""Priorities and deduplication."""

from __future__ import annotations

from skyferry.model import Priority
from skyferry.ports import EventQueue, Outgoing
from skyferry.testing.queue.harness import QueueCases, QueueHarness, list_bodies


class PriorityCases(QueueCases):
    """The sentences about `priority` and `dedup_id`."""

    async def test_high_goes_before_normal_before_low(self, one: EventQueue, harness: QueueHarness) -> None:
        """In any order of sending; and the message has its priority."""
        self.needs(one.traits.prioritized, "has no priorities")
        order = [Priority.LOW, Priority.NORMAL, Priority.HIGH]
        for priority in order:
            await one.send([Outgoing(priority.encode(), priority=priority)])
            await harness.pass_time(1)
        received = [message.priority for _ in order for message in await self.get(one, harness, 1)]
        assert received == order[::-1]

    async def test_low_does_not_wait_for_ever(self, one: EventQueue, harness: QueueHarness) -> None:
        """A low one is received in the end, however many high ones arrive."""
        self.needs(one.traits.prioritized, "has no priorities")
        await one.send([Outgoing(b"low", priority=Priority.LOW)])
        await harness.pass_time(harness.timing.patience)
        await one.send([Outgoing(b"high", priority=Priority.HIGH)] * 5)
        assert list_bodies(await self.get(one, harness, 1)) == [b"low"]

    async def test_a_repeated_dedup_id_is_kept_once(
        self, one: EventQueue, two: EventQueue, harness: QueueHarness
    ) -> None:
        """Ready, leased or delayed, in one call or two, from any client; its id is that of the first."""
        self.needs(one.traits.deduplicates, "does not deduplicate")
        first, other, same = await one.send(
            [Outgoing(b"x", dedup_id="d"), Outgoing(b"y"), Outgoing(b"z", dedup_id="d")]
        )
        assert first == same != other
        held = await self.get(one, harness)
        assert sorted(list_bodies(held)) == [b"x", b"y"]
        assert await two.send([Outgoing(b"x", dedup_id="d")]) == [first]
        await one.release(held, harness.timing.delay)
        assert await two.send([Outgoing(b"x", dedup_id="d")]) == [first]
        assert await self.get(two, harness) == []

    async def test_a_dedup_id_is_free_after_the_ack(self, one: EventQueue, harness: QueueHarness) -> None:
        """The same work may be sent again once it is done."""
        self.needs(one.traits.deduplicates, "does not deduplicate")
        ids = await one.send([Outgoing(b"x", dedup_id="d\0e"), Outgoing(b"y", dedup_id="d\0f")])
        await one.ack(await self.get(one, harness))
        assert await one.send([Outgoing(b"z", dedup_id="d\0e")]) != ids[:1]
        assert list_bodies(await self.get(one, harness)) == [b"z"]
