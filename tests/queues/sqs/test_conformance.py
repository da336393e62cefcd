"""SQS keeps the contract, on LocalStack."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator

import pytest

from skyferry.clouds.credentials import S3Credentials, fixed_credentials
from skyferry.ports import EventQueue
from skyferry.queues.sqs.client import SqsClient, SqsOptions
from skyferry.queues.sqs.queue import SqsQueue
from skyferry.testing.queue import QueueConformance, QueueHarness, QueueTiming
from skyferry.testing.servers import LocalStack

ANY = fixed_credentials(S3Credentials("any", "any"))


class SqsHarness(QueueHarness):
    """A queue of its own."""

    timing = QueueTiming(lease=3, delay=1, slack=1, idle=1, poll=1)

    def __init__(self, server: LocalStack, name: str, lease: int = 3) -> None:
        self.name, self.options = name, SqsOptions(server.url, server.region, lease=lease)
        self.opened: list[SqsQueue] = []

    async def open(self) -> EventQueue:
        queue = SqsQueue("sqs", self.name, ANY, self.options)
        self.opened.append(queue)
        return queue

    async def pass_time(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


async def created(server: LocalStack, lease: int = 3, *, fifo: bool = False) -> SqsHarness:
    """On a new queue."""
    harness = SqsHarness(server, f"queue-{secrets.token_hex(6)}{'.fifo' * fifo}", lease)
    admin = SqsClient("admin", "http://any/any", ANY, harness.options)
    attributes = {"Attributes": {"FifoQueue": "true"}} if fifo else {}
    await admin.call("CreateQueue", QueueName=harness.name, **attributes)
    await admin.close()
    return harness


class TestSqs(QueueConformance):
    """The contract."""

    @pytest.fixture
    async def harness(self, localstack_server: LocalStack) -> AsyncIterator[QueueHarness]:
        harness = await created(localstack_server)
        yield harness
        for queue in harness.opened:
            await queue.close()
