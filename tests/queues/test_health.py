"""A queue that is gone at its provider is known to be, also where the provider tells no depth."""

from __future__ import annotations

import asyncio

from tests.queues.pubsub.test_conformance import PubSubHarness
from tests.queues.sqs.test_conformance import created

from skyferry.clock import SystemClock
from skyferry.clouds.credentials import fixed_credentials
from skyferry.engine.queue_health import NOT_YET, MonitoredQueue
from skyferry.errors import QueueError
from skyferry.queues.pubsub.client import PubSubOptions
from skyferry.queues.pubsub.queue import PubSubQueue
from skyferry.queues.sqs.queue import SqsQueue
from skyferry.testing.servers import LocalStack
from skyferry.testing.servers.pubsub import PubSubEmulator


async def down(queue: MonitoredQueue) -> str:
    """What is said of it once it is down; it is received from as a worker does."""
    async with asyncio.timeout(60):
        while queue.check.state == "ok":
            try:
                await queue.receive(10, 0.2)
            except QueueError:
                await asyncio.sleep(0)
    return queue.check.message


async def test_a_subscription_that_is_deleted_is_down(pubsub_server: PubSubEmulator) -> None:
    harness = PubSubHarness(pubsub_server)
    await harness.create()
    options = PubSubOptions(harness.topic, pubsub_server.url, lease=10)
    inner = PubSubQueue("pubsub", harness.subscription, fixed_credentials(""), options)
    queue = MonitoredQueue(inner, SystemClock())
    await queue.sample(5.0)
    assert queue.check.message == NOT_YET
    await queue.receive(1, 0.2)
    assert queue.check.message == ""
    await inner._client.subscriber.delete_subscription(subscription=harness.subscription)
    assert "pubsub" in await down(queue)
    await queue.close()


async def test_a_queue_that_is_deleted_is_down_and_its_depth_is_gone(localstack_server: LocalStack) -> None:
    inner = await (await created(localstack_server, lease=30)).open()
    assert isinstance(inner, SqsQueue)
    queue = MonitoredQueue(inner, SystemClock())
    assert await queue.sample(5.0) is not None
    assert queue.check.message == ""
    await inner._client.call("DeleteQueue")
    assert await queue.sample(5.0) is None
    assert (queue.check.state, queue.health.depth) == ("down", None)
    assert "QueueDoesNotExist" in queue.check.message
    await queue.close()
