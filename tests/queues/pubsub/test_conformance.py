"""Pub/Sub keeps the contract, on Google's emulator."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from google.api_core.exceptions import ServiceUnavailable

from skyferry.clouds.credentials import fixed_credentials
from skyferry.errors import QueueError
from skyferry.ports import EventQueue, Message, Outgoing
from skyferry.ports.inspection import Redrive
from skyferry.queues.pubsub.client import PubSubClient, PubSubOptions
from skyferry.queues.pubsub.queue import CHUNK, PubSubQueue
from skyferry.testing.clock import ManualClock
from skyferry.testing.queue import QueueConformance, QueueHarness, QueueTiming
from skyferry.testing.servers.pubsub import PubSubEmulator


class PubSubHarness(QueueHarness):
    """A topic and a subscription of its own, which counts deliveries."""

    timing = QueueTiming(lease=3, delay=1, slack=1, idle=1, poll=1)

    def __init__(self, server: PubSubEmulator) -> None:
        name, project = secrets.token_hex(6), f"projects/{server.project}"
        self.topic, self.subscription = f"{project}/topics/t-{name}", f"{project}/subscriptions/s-{name}"
        self.options = PubSubOptions(self.topic, server.url, lease=3, linger=0)
        self.opened: list[PubSubQueue] = []

    async def create(self) -> None:
        client = PubSubClient("admin", fixed_credentials(""), self.options)
        await client.publisher.create_topic(name=self.topic)
        dead = {"dead_letter_topic": self.topic, "max_delivery_attempts": 100}
        request = {"name": self.subscription, "topic": self.topic, "ack_deadline_seconds": 10}
        await client.subscriber.create_subscription(request={**request, "dead_letter_policy": dead})
        await client.close()

    async def open(self) -> EventQueue:
        queue = PubSubQueue("pubsub", self.subscription, fixed_credentials(""), self.options)
        self.opened.append(queue)
        return queue

    async def pass_time(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class TestPubSub(QueueConformance):
    """The contract."""

    @pytest.fixture
    async def harness(self, pubsub_server: PubSubEmulator) -> AsyncIterator[QueueHarness]:
        harness = PubSubHarness(pubsub_server)
        await harness.create()
        yield harness
        for queue in harness.opened:
            await queue.close()


async def test_the_subscription_reports_its_settings(pubsub_server: PubSubEmulator) -> None:
    """Its topic, as a bucket's notification names it, and when it gives a message up."""
    harness = PubSubHarness(pubsub_server)
    await harness.create()
    queue = await harness.open()
    assert isinstance(queue, PubSubQueue)
    facts = await queue.inspect()
    await queue.close()
    assert (facts.address, facts.redrive, facts.who) == (harness.topic, Redrive(100, harness.topic), "anonymous")
    assert (facts.wrong, "10 s" in facts.notes[-1]) == ((), True)


async def test_a_subscription_that_is_not_there_is_an_error(pubsub_server: PubSubEmulator) -> None:
    """With what to do."""
    queue = await PubSubHarness(pubsub_server).open()
    assert isinstance(queue, PubSubQueue)
    with pytest.raises(QueueError) as caught:
        await queue.inspect()
    assert caught.value.hint
    await queue.close()


async def test_a_request_that_fails_ends_the_leases_of_its_own_messages_only(pubsub_server: PubSubEmulator) -> None:
    """The second of two heartbeats finds the service away: when the leases would have ended, the first 1,000 are ours."""
    harness, clock = PubSubHarness(pubsub_server), ManualClock()
    await harness.create()
    options = replace(harness.options, linger=5, lease=60, outstanding=2 * CHUNK)
    queue = PubSubQueue("pubsub", harness.subscription, fixed_credentials(""), options, clock)
    await queue.send([Outgoing(b"x")] * (CHUNK + 1))
    held: list[Message] = []
    while len(held) <= CHUNK:
        held += await queue.receive(CHUNK, 0) or await asyncio.sleep(0.05, [])  # the emulator's own time
    extend = queue._client.subscriber.modify_ack_deadline

    async def away(*, ack_ids: list[str], **rest: Any) -> None:
        if len(ack_ids) < CHUNK:
            raise ServiceUnavailable("away")  # type: ignore[no-untyped-call]  # its package has no types
        await extend(ack_ids=ack_ids, **rest)

    await clock.advance(40)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(queue._client.subscriber, "modify_ack_deadline", away)
        with pytest.raises(QueueError):
            await queue.extend(held)
    await clock.advance(40)
    assert await queue.extend(held) == held[CHUNK:]
    await queue.close()
