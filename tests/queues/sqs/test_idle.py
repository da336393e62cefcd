"""An empty queue of SQS costs few requests, and a poll that is broken off keeps no message from others."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from tests.queues.sqs.test_conformance import ANY, created

from skyferry.ports import Outgoing
from skyferry.queues.sqs import queue as sqs
from skyferry.queues.sqs.queue import SqsQueue
from skyferry.testing.servers import LocalStack
from skyferry.testing.servers.proxy import Exchange, FaultProxy


def asked(exchange: Exchange) -> str:
    return exchange.headers["x-amz-target"].partition(".")[2]


async def test_one_long_poll_serves_many_receives(
    localstack_server: LocalStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And hands its message to the receive that is there when it comes, with its whole lease."""
    monkeypatch.setattr(sqs, "GLANCE", 0.05)
    harness = await created(localstack_server, lease=300)
    other = SqsQueue("sqs", harness.name, ANY, harness.options)
    async with FaultProxy(localstack_server.url) as proxy:
        queue = SqsQueue("sqs", harness.name, ANY, replace(harness.options, endpoint=proxy.url))
        for _ in range(10):
            assert await queue.receive(10, 0.05) == []
        assert len([e for e in proxy.exchanges if e.status and asked(e) == "ReceiveMessage"]) == 1
        await other.send([Outgoing(b"x")])
        async with asyncio.timeout(20):
            while not (got := await queue.receive(10, 1)):
                pass
        assert [asked(e) for e in proxy.exchanges if e.status][-2:] == [
            "ReceiveMessage",
            "ChangeMessageVisibilityBatch",
        ]
        assert len([e for e in proxy.exchanges if asked(e) == "ReceiveMessage"]) == 2
        assert got[0].lease_until - queue._clock.time() > 290
        assert await queue.extend(got) == []
        await queue.ack(got)
        await queue.close()
    await other.close()


async def test_what_comes_into_a_poll_that_was_broken_off_comes_again_soon(
    localstack_server: LocalStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The service may put it into an answer that goes nowhere; not for a whole lease."""
    monkeypatch.setattr(sqs, "BRIEF", 1)
    harness = await created(localstack_server, lease=300)
    one, two = (SqsQueue("sqs", harness.name, ANY, harness.options) for _ in range(2))
    assert await one.receive(1, 0) == []
    asking = asyncio.create_task(one.receive(1, 20))
    await asyncio.sleep(0.5)  # the service must have the request
    asking.cancel()
    await asyncio.wait([asking])
    await one.close()
    await two.send([Outgoing(b"x")])
    async with asyncio.timeout(20):
        while not await two.receive(1, 2):
            pass
    await two.close()


async def test_a_poll_that_has_ended_when_the_queue_is_closed_gives_back_what_it_brought(
    localstack_server: LocalStack,
) -> None:
    harness = await created(localstack_server, lease=300)
    one, two = (SqsQueue("sqs", harness.name, ANY, harness.options) for _ in range(2))
    await two.send([Outgoing(b"x")])
    asking = asyncio.create_task(one.receive(1, 1))
    while one._left is None:
        await asyncio.sleep(0)
    asking.cancel()
    await asyncio.wait({one._left})
    await one.close()
    assert [m.body for m in await two.receive(1, 2)] == [b"x"]
    await two.close()
