"""Azure Storage Queue keeps the contract, on Azurite."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator

import pytest

from skyferry.clouds.azure import SharedKey
from skyferry.clouds.credentials import fixed_credentials
from skyferry.ports import EventQueue, Message, Outgoing
from skyferry.queues.azure.queue import AzureQueue, AzureQueueOptions
from skyferry.testing.queue import QueueConformance, QueueHarness, QueueTiming
from skyferry.testing.servers import Azurite


class AzureHarness(QueueHarness):
    """A queue of its own."""

    timing = QueueTiming(lease=3, delay=1, slack=1, idle=1, poll=1)

    def __init__(self, server: Azurite) -> None:
        self.name, self.options = f"queue-{secrets.token_hex(6)}", AzureQueueOptions(server.queue_url, 3, 0.2)
        self.credential = fixed_credentials(SharedKey(server.account, server.key))
        self.opened: list[AzureQueue] = []

    async def open(self) -> AzureQueue:
        queue = AzureQueue("azure", self.name, self.credential, self.options)
        self.opened.append(queue)
        return queue

    async def pass_time(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class TestAzureQueue(QueueConformance):
    """The contract."""

    @pytest.fixture
    async def harness(self, azurite_server: Azurite) -> AsyncIterator[QueueHarness]:
        harness = AzureHarness(azurite_server)
        await (await harness.open())._ask("PUT", "", {})
        yield harness
        for queue in harness.opened:
            await queue.close()

    async def test_messages_of_one_response_are_distinguished(self, one: EventQueue, harness: QueueHarness) -> None:
        """They may have one pop receipt, which only names the moment: each is extended and acked all the same."""
        await one.send([Outgoing(b"%d" % number) for number in range(10)])
        held: list[Message] = []
        while len(held) < 10:
            held += await one.receive(10, 1)
        assert len({message.receipt for message in held}) < 10
        assert await one.extend(held) == []
        await one.ack(held)
        assert (await one.depth()).ready == 0
