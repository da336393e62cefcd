"""The limits of a consumer that Skyferry did not make."""

from __future__ import annotations

from typing import Any

import pytest
from nats.js.api import AckPolicy, ConsumerConfig, StreamConfig
from tests.queues.nats.test_queue import NAMES, open_queue

from skyferry.ports.decorators import QueueDecorator
from skyferry.testing.servers import NatsServer


@pytest.mark.parametrize(("given", "limited", "lease"), [({}, False, 30), ({"max_deliver": 9, "ack_wait": 5}, True, 5)])
async def test_they_are_known_to_the_engine(
    nats_server: NatsServer, given: dict[str, Any], limited: bool, lease: int
) -> None:
    """A message that was delivered too often is lost. They are known from the first receive on."""
    name = f"own{next(NAMES)}"
    queue = open_queue(f"nats://{nats_server.address}/{name}/c?subject={name}")
    seen = QueueDecorator(queue)

    async def make(client: Any, stream: Any) -> None:
        await stream.add_stream(StreamConfig(name=name, subjects=[name]))
        await stream.add_consumer(name, ConsumerConfig(durable_name="c", ack_policy=AckPolicy.EXPLICIT, **given))

    await queue._connection.run(make)
    await queue.receive(1, 0)
    assert (seen.traits.limits_receives, seen.lease) == (limited, lease)
    await queue.close()
