"""Sent messages are received unchanged."""

from __future__ import annotations

import pytest

from skyferry.ports import EventQueue, Outgoing
from skyferry.testing.queue.harness import BODIES, QueueCases, QueueHarness, list_bodies


class DeliveryCases(QueueCases):
    """The sentences about `send` and `receive`."""

    async def test_what_is_sent_is_received_as_it_was(
        self, one: EventQueue, two: EventQueue, harness: QueueHarness
    ) -> None:
        """Body, attributes and id arrive; the message is leased for `lease` seconds; it is the first attempt."""
        attributes = (("name", "value"), ("\u00e9", 'a"b'))
        ids = await one.send([Outgoing(b"body", attributes)])
        (message,) = await self.get(two, harness)
        assert (message.body, message.attributes, message.id) == (b"body", attributes, ids[0])
        assert message.attempt == 1
        assert message.lease_until - message.enqueued_at == pytest.approx(two.lease, abs=harness.timing.slack + 1)

    @pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
    async def test_a_body_may_be_anything(self, one: EventQueue, harness: QueueHarness, body: bytes) -> None:
        """Bodies are raw bytes."""
        await one.send([Outgoing(body)])
        assert list_bodies(await self.get(one, harness)) == [body]

    async def test_ids_are_in_the_order_of_the_messages(self, one: EventQueue, harness: QueueHarness) -> None:
        """The n-th id is that of the n-th message."""
        sent = [b"a", b"b", b"c"]
        ids = await one.send([Outgoing(body) for body in sent])
        assert {m.id: m.body for m in await self.get(one, harness)} == dict(zip(ids, sent, strict=True))

    async def test_many_messages_are_each_received_once(
        self, one: EventQueue, two: EventQueue, harness: QueueHarness
    ) -> None:
        """While leases last, no message is delivered twice to any client, and never more than `limit` at a time."""
        sent = [b"%d" % number for number in range(60)]
        await one.send([Outgoing(body) for body in sent])
        seen: list[bytes] = []
        while len(seen) < len(sent):  # without another receive, because leases may be short
            batch = [*await self.get(one, harness, 7), *await self.get(two, harness, 7)]
            assert len(batch) <= 14
            seen += list_bodies(batch)
        assert sorted(seen) == sorted(sent)

    async def test_nothing_to_do_is_no_error(self, one: EventQueue) -> None:
        """Empty lists are allowed everywhere."""
        assert await one.send([]) == []
        assert await one.extend([]) == []
        await one.ack([])
        await one.release([], 1)
