"""A pull consumer of JetStream keeps the contract."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import count

import pytest

from skyferry.clock import SystemClock
from skyferry.clouds.credentials import fixed_credentials
from skyferry.config.servers.tls import TlsSettings
from skyferry.queues.nats.connection import NatsConnection, NatsOptions
from skyferry.queues.nats.queue import NatsQueue
from skyferry.queues.nats.scheme import parse_nats
from skyferry.testing.queue import QueueConformance, QueueHarness, QueueTiming
from skyferry.testing.servers import NatsServer

STREAMS = count(1)


class NatsHarness(QueueHarness):
    """A stream of its own. Time passes."""

    timing = QueueTiming(lease=1.2, delay=0.6, slack=0.4, idle=0.3, poll=0.1)

    def __init__(self, server: NatsServer) -> None:
        number = next(STREAMS)
        self.url = f"nats://{server.address}/stream-{number}/worker?subject=events.{number}"
        self.opened: list[NatsQueue] = []

    async def open(self) -> NatsQueue:
        address = parse_nats(self.url, allow_plain=False)
        options = NatsOptions(address, False, TlsSettings(), self.timing.lease)
        self.opened.append(NatsQueue("nats", NatsConnection("nats", options, fixed_credentials("")), SystemClock()))
        return self.opened[-1]

    async def pass_time(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class TestNatsQueue(QueueConformance):
    """The contract."""

    @pytest.fixture
    async def harness(self, nats_server: NatsServer) -> AsyncIterator[QueueHarness]:
        harness = NatsHarness(nats_server)
        yield harness
        for queue in harness.opened:
            await queue.close()
