"""The conformance suite of the `EventQueue` port. An adapter's test module is a fixture and a class line:

    class TestMyQueue(QueueConformance):
        @pytest.fixture
        async def harness(self) -> AsyncIterator[QueueHarness]: ...

What a provider promises less is data: `QueueTraits` for what it never does, `deviations` (test -> reason) for a single
sentence that it breaks; such a test MUST fail, so that the list stays true.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

import pytest

from skyferry.errors import QueueError
from skyferry.model import Priority
from skyferry.ports import Depth, EventQueue, Message, Outgoing

GUARD = 60.0  # real seconds before a call that should have ended counts as hung
BODIES = (
    b"",
    b'{"key": "value"}',
    '"\u00e9\U0001f680\\ \u2028\ufeff'.encode(),
    b"nul\0inside",
    b"\xff\xfe not UTF-8 \x80",
    b"\xed\xa0\x80",  # a lone surrogate
    b" \r\n\t",
    bytes(range(256)) * 100,
)


@dataclass(frozen=True, slots=True)
class QueueTraits:
    """What a queue is known to do, and how long the suite waits for it."""

    lease: float = 30.0  # seconds that `open` leases for; a provider's shortest is the quickest in real time
    delay: float = 10.0  # seconds: a delay that it can keep
    slack: float = 0.0  # seconds by which anything may come late; also how long a look into the queue lasts
    idle: float = 20.0  # seconds that it is asked to wait for nothing
    poll: float = 1.0  # seconds within which one client sees what another has sent
    patience: float | None = 7201.0  # seconds after which a low one goes before new high ones; None = no priorities
    dedup: bool = True  # a repeated `dedup_id` is kept once
    counts: bool = True  # `depth` is exact, not an estimate or -1
    frees: bool = True  # `close` frees leases at once


class QueueHarness(ABC):
    """One fresh, empty queue."""

    traits: QueueTraits = QueueTraits()

    @abstractmethod
    async def open(self) -> EventQueue:
        """Another client of it, as from another process; the harness closes it in the end."""

    @abstractmethod
    async def pass_time(self, seconds: float) -> None:
        """Move the clock, or sleep."""


async def soon(call: asyncio.Task[list[Message]]) -> list[Message]:
    """The result of a call that needs no time to pass."""
    async with asyncio.timeout(GUARD):
        return await call


def bodies(messages: Sequence[Message]) -> list[bytes]:
    """In the order received."""
    return [message.body for message in messages]


class QueueConformance:
    """Every sentence of the `EventQueue` contract."""

    deviations: ClassVar[Mapping[str, str]] = MappingProxyType({})

    @pytest.fixture(autouse=True)
    def _known_deviation(self, request: pytest.FixtureRequest) -> None:
        if reason := self.deviations.get(request.node.originalname):
            request.applymarker(pytest.mark.xfail(reason=reason, strict=True))

    @pytest.fixture
    async def one(self, harness: QueueHarness) -> EventQueue:
        """A client."""
        return await harness.open()

    @pytest.fixture
    async def two(self, harness: QueueHarness) -> EventQueue:
        """Another."""
        return await harness.open()

    async def get(self, queue: EventQueue, harness: QueueHarness, limit: int = 10) -> list[Message]:
        """What there is now."""
        return await queue.receive(limit, harness.traits.slack)

    # --- send and receive ---

    async def test_what_is_sent_is_received_as_it_was(
        self, one: EventQueue, two: EventQueue, harness: QueueHarness
    ) -> None:
        """Body, attributes and id arrive; the lease is ours for `lease` seconds; it is the first attempt."""
        attributes = (("name", "value"), ("\u00e9", 'a"b'))
        ids = await one.send([Outgoing(b"body", attributes)])
        (message,) = await self.get(two, harness)
        assert (message.body, message.attributes, message.id) == (b"body", attributes, ids[0])
        assert message.attempt == 1
        assert message.lease_until - message.enqueued_at == pytest.approx(two.lease, abs=harness.traits.slack + 1)

    @pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
    async def test_a_body_may_be_anything(self, one: EventQueue, harness: QueueHarness, body: bytes) -> None:
        """Bodies are raw bytes."""
        await one.send([Outgoing(body)])
        assert bodies(await self.get(one, harness)) == [body]

    async def test_ids_are_in_the_order_of_the_messages(self, one: EventQueue, harness: QueueHarness) -> None:
        """The n-th id is that of the n-th message."""
        sent = [b"a", b"b", b"c"]
        ids = await one.send([Outgoing(body) for body in sent])
        assert {m.id: m.body for m in await self.get(one, harness)} == dict(zip(ids, sent, strict=True))

    async def test_many_messages_are_each_received_once(
        self, one: EventQueue, two: EventQueue, harness: QueueHarness
    ) -> None:
        """While leases last, no message is handed out twice, whoever asks, and never more than `limit` at a time."""
        sent = [b"%d" % number for number in range(60)]
        await one.send([Outgoing(body) for body in sent])
        seen: list[bytes] = []
        while len(seen) < len(sent):  # and no look more, for leases may be short
            batch = [*await self.get(one, harness, 7), *await self.get(two, harness, 7)]
            assert len(batch) <= 14
            seen += bodies(batch)
        assert sorted(seen) == sorted(sent)

    async def test_nothing_to_do_is_no_error(self, one: EventQueue) -> None:
        """Empty lists are allowed everywhere."""
        assert await one.send([]) == []
        assert await one.extend([]) == []
        await one.ack([])
        await one.release([], 1)

    # --- waiting ---

    async def test_an_empty_queue_answers_after_the_wait(self, one: EventQueue, harness: QueueHarness) -> None:
        """`receive` waits at most `wait` seconds, then returns []."""
        call = asyncio.create_task(one.receive(1, harness.traits.idle))
        await harness.pass_time(harness.traits.idle + harness.traits.slack)
        assert await soon(call) == []

    async def test_a_send_wakes_a_receiver(self, one: EventQueue, harness: QueueHarness) -> None:
        """At once, and it does not wait for more until `limit`."""
        call = asyncio.create_task(one.receive(10, 600))
        await harness.pass_time(1)
        await one.send([Outgoing(b"x")])
        assert bodies(await soon(call)) == [b"x"]

    async def test_a_send_elsewhere_wakes_a_receiver(
        self, one: EventQueue, two: EventQueue, harness: QueueHarness
    ) -> None:
        """Another client's message is seen within the time the adapter states."""
        call = asyncio.create_task(one.receive(10, 600))
        await harness.pass_time(1)
        await two.send([Outgoing(b"x")])
        await harness.pass_time(harness.traits.poll)
        assert bodies(await soon(call)) == [b"x"]

    async def test_a_delay_that_ends_wakes_a_receiver(self, one: EventQueue, harness: QueueHarness) -> None:
        """A receiver that waits gets what becomes ready meanwhile."""
        await one.send([Outgoing(b"x", delay=harness.traits.delay)])
        call = asyncio.create_task(one.receive(10, 600))
        await harness.pass_time(harness.traits.delay + harness.traits.slack)
        assert bodies(await soon(call)) == [b"x"]

    async def test_a_release_wakes_a_receiver(self, one: EventQueue, harness: QueueHarness) -> None:
        """At once, like a send."""
        await one.send([Outgoing(b"x")])
        held = await self.get(one, harness)
        call = asyncio.create_task(one.receive(10, 600))
        await harness.pass_time(1)
        await one.release(held, 0)
        assert bodies(await soon(call)) == [b"x"]

    async def test_a_cancelled_wait_takes_nothing(self, one: EventQueue, harness: QueueHarness) -> None:
        """A receiver that is cancelled while it waits does not swallow what comes later."""
        call = asyncio.create_task(one.receive(10, 600))
        await harness.pass_time(1)
        call.cancel()
        with suppress(asyncio.CancelledError):
            await call
        await one.send([Outgoing(b"x")])
        assert bodies(await self.get(one, harness)) == [b"x"]

    # --- leases ---

    async def test_a_lease_that_ends_brings_the_message_again(
        self, one: EventQueue, two: EventQueue, harness: QueueHarness
    ) -> None:
        """Not before, then once more, with the same id and the attempts counted."""
        await one.send([Outgoing(b"x")])
        (first,) = await self.get(one, harness)
        assert await self.get(two, harness) == []
        await harness.pass_time(one.lease + harness.traits.slack)
        (again,) = await self.get(two, harness)
        assert (again.id, again.body, again.attempt) == (first.id, b"x", 2)
        assert again.receipt != first.receipt

    async def test_extend_keeps_the_message(self, one: EventQueue, two: EventQueue, harness: QueueHarness) -> None:
        """From now, for `lease` seconds, as often as asked."""
        await one.send([Outgoing(b"x")])
        held = await self.get(one, harness)
        for _ in range(3):
            await harness.pass_time(one.lease * 0.6)
            assert await one.extend(held) == []
        assert await self.get(two, harness) == []
        await harness.pass_time(one.lease + harness.traits.slack)
        assert bodies(await self.get(two, harness)) == [b"x"]

    async def test_extend_tells_what_is_lost(self, one: EventQueue, two: EventQueue, harness: QueueHarness) -> None:
        """A stale receipt is returned, and does not touch the lease of whoever has the message now."""
        await one.send([Outgoing(b"x"), Outgoing(b"y")])
        held = await self.get(one, harness)
        await one.ack([m for m in held if m.body == b"y"])
        await harness.pass_time(one.lease + harness.traits.slack)
        await self.get(two, harness)
        await harness.pass_time(one.lease * 0.6)
        assert sorted(bodies(await one.extend(held))) == [b"x", b"y"]
        await harness.pass_time(one.lease * 0.4 + harness.traits.slack)
        assert bodies(await self.get(one, harness)) == [b"x"]

    async def test_an_ack_is_for_ever(self, one: EventQueue, two: EventQueue, harness: QueueHarness) -> None:
        """An acked message never comes again; what was not acked does; acking again is no error."""
        await one.send([Outgoing(b"x"), Outgoing(b"y")])
        held = await self.get(one, harness)
        for _ in range(2):
            await one.ack([m for m in held if m.body == b"x"])
        await harness.pass_time(one.lease + harness.traits.slack)
        assert bodies(await self.get(two, harness)) == [b"y"]

    async def test_a_stale_ack_removes_nothing(self, one: EventQueue, two: EventQueue, harness: QueueHarness) -> None:
        """Nor is it an error."""
        await one.send([Outgoing(b"x")])
        stale = await self.get(one, harness)
        await harness.pass_time(one.lease + harness.traits.slack)
        await self.get(two, harness)
        await one.ack(stale)
        await harness.pass_time(one.lease + harness.traits.slack)
        assert bodies(await self.get(one, harness)) == [b"x"]

    async def test_release_gives_back_at_once(self, one: EventQueue, two: EventQueue, harness: QueueHarness) -> None:
        """Without a delay, anybody gets it, long before the lease would have ended."""
        await one.send([Outgoing(b"x")])
        await one.release(await self.get(one, harness), 0)
        (again,) = await self.get(two, harness)
        assert (again.body, again.attempt) == (b"x", 2)

    async def test_release_waits_for_the_delay(self, one: EventQueue, harness: QueueHarness) -> None:
        """Also one longer than the lease."""
        delay = one.lease + harness.traits.delay
        await one.send([Outgoing(b"x")])
        await one.release(await self.get(one, harness), delay)
        await harness.pass_time(delay * 0.9 - harness.traits.slack)
        assert await self.get(one, harness) == []
        await harness.pass_time(delay * 0.1 + 2 * harness.traits.slack)
        assert bodies(await self.get(one, harness)) == [b"x"]

    async def test_a_stale_release_gives_nothing_back(
        self, one: EventQueue, two: EventQueue, harness: QueueHarness
    ) -> None:
        """What another holds stays with it."""
        await one.send([Outgoing(b"x")])
        stale = await self.get(one, harness)
        await harness.pass_time(one.lease + harness.traits.slack)
        held = await self.get(two, harness)
        await one.release(stale, 0)
        assert await self.get(one, harness) == []
        assert await two.extend(held) == []

    async def test_a_delayed_message_comes_when_it_is_due(self, one: EventQueue, harness: QueueHarness) -> None:
        """Not before."""
        delay = harness.traits.delay
        await one.send([Outgoing(b"late", delay=delay), Outgoing(b"now")])
        assert bodies(await self.get(one, harness)) == [b"now"]
        await harness.pass_time(delay + harness.traits.slack)
        assert bodies(await self.get(one, harness)) == [b"late"]

    # --- priority and deduplication ---

    async def test_high_goes_before_normal_before_low(self, one: EventQueue, harness: QueueHarness) -> None:
        """Whatever was sent first; and the message says its priority."""
        self.needs(harness.traits.patience is not None, "has no priorities")
        order = [Priority.LOW, Priority.NORMAL, Priority.HIGH]
        for priority in order:
            await one.send([Outgoing(priority.encode(), priority=priority)])
            await harness.pass_time(1)
        received = [message.priority for _ in order for message in await self.get(one, harness, 1)]
        assert received == order[::-1]

    async def test_low_does_not_wait_for_ever(self, one: EventQueue, harness: QueueHarness) -> None:
        """However many high ones come, a low one's turn comes too."""
        self.needs(harness.traits.patience is not None, "has no priorities")
        await one.send([Outgoing(b"low", priority=Priority.LOW)])
        await harness.pass_time(harness.traits.patience or 0)
        await one.send([Outgoing(b"high", priority=Priority.HIGH)] * 5)
        assert bodies(await self.get(one, harness, 1)) == [b"low"]

    async def test_a_repeated_dedup_id_is_kept_once(
        self, one: EventQueue, two: EventQueue, harness: QueueHarness
    ) -> None:
        """Ready, leased or delayed, in one call or two, from anybody; its id is that of the first."""
        self.needs(harness.traits.dedup, "does not deduplicate")
        first, other, same = await one.send(
            [Outgoing(b"x", dedup_id="d"), Outgoing(b"y"), Outgoing(b"z", dedup_id="d")]
        )
        assert first == same != other
        held = await self.get(one, harness)
        assert sorted(bodies(held)) == [b"x", b"y"]
        assert await two.send([Outgoing(b"x", dedup_id="d")]) == [first]
        await one.release(held, harness.traits.delay)
        assert await two.send([Outgoing(b"x", dedup_id="d")]) == [first]
        assert await self.get(two, harness) == []

    async def test_a_dedup_id_is_free_after_the_ack(self, one: EventQueue, harness: QueueHarness) -> None:
        """The same work may be sent again once it is done."""
        self.needs(harness.traits.dedup, "does not deduplicate")
        ids = await one.send([Outgoing(b"x", dedup_id="d\0e"), Outgoing(b"y", dedup_id="d\0f")])
        await one.ack(await self.get(one, harness))
        assert await one.send([Outgoing(b"z", dedup_id="d\0e")]) != ids[:1]
        assert bodies(await self.get(one, harness)) == [b"z"]

    # --- depth and close ---

    async def test_depth_tells_how_full_it_is(self, one: EventQueue, two: EventQueue, harness: QueueHarness) -> None:
        """Counts of ready, leased and delayed, also of what another client did, and the age of the oldest."""
        self.needs(harness.traits.counts, "estimates")
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
        """Even while nobody receives."""
        self.needs(harness.traits.counts, "estimates")
        await one.send([Outgoing(b"x")])
        await self.get(one, harness)
        await harness.pass_time(one.lease)
        depth = await one.depth()
        assert (depth.ready, depth.leased, depth.delayed) == (1, 0, 0)

    async def test_close_frees_what_it_held_and_nothing_else(
        self, one: EventQueue, two: EventQueue, harness: QueueHarness
    ) -> None:
        """Others get its messages at once; the leases of others go on; what is delayed stays so."""
        self.needs(harness.traits.frees, "lets leases run out")
        await one.send([Outgoing(b"mine"), Outgoing(b"later", delay=100)])
        held = await self.get(one, harness)
        await one.send([Outgoing(b"yours")])
        assert bodies(await self.get(two, harness)) == [b"yours"]
        await one.close()
        (again,) = await self.get(two, harness)
        assert (again.id, again.attempt) == (held[0].id, 2)

    async def test_after_close_it_is_closed(self, one: EventQueue, two: EventQueue, harness: QueueHarness) -> None:
        """Closing again is no error, using it is; other clients go on."""
        for _ in range(2):
            await one.close()
        with pytest.raises(QueueError):
            await one.send([Outgoing(b"x")])
        with pytest.raises(QueueError):
            await one.receive(1, 0)
        await two.send([Outgoing(b"x")])
        assert bodies(await self.get(two, harness)) == [b"x"]

    async def test_close_ends_a_wait(self, one: EventQueue, harness: QueueHarness) -> None:
        """A receiver that waits gets []."""
        call = asyncio.create_task(one.receive(1, 600))
        await harness.pass_time(1)
        await one.close()
        assert await soon(call) == []

    @staticmethod
    def needs(does: bool, otherwise: str) -> None:
        """Skip a sentence that the traits exclude."""
        if not does:
            pytest.skip(f"this queue {otherwise}")
