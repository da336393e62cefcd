"""What the adapter of Storage Queue promises beyond the queue's contract."""

from __future__ import annotations

import asyncio

import pytest
from tests.queues.azure.test_conformance import AzureHarness

from skyferry.clouds.credentials import fixed_credentials
from skyferry.errors import QueueError
from skyferry.ports import Message, Outgoing
from skyferry.queues.azure.queue import AzureQueue, AzureQueueOptions
from skyferry.testing.clock import ManualClock
from skyferry.testing.servers import Azurite
from skyferry.testing.servers.proxy import Fault, FaultProxy


async def test_the_page_of_a_proxy_is_a_queue_error() -> None:
    """Not the end of the service: the worker expects it, and comes again."""
    async with FaultProxy("http://127.0.0.1:9") as proxy:
        queue = AzureQueue("azure", "q", fixed_credentials("token"), AzureQueueOptions(f"{proxy.url}/account"))
        proxy.plan(*[Fault(status=200, body=b"<p>Please log in")] * 2)
        with pytest.raises(QueueError):
            await queue.receive(1, 0)
        with pytest.raises(QueueError):
            await queue.send([Outgoing(b"x")])
        await queue.close()


async def test_a_request_that_fails_takes_no_received_message_with_it(azurite_server: Azurite) -> None:
    """The second of two: what the first has brought would only come again when its lease ends."""
    harness = AzureHarness(azurite_server)
    root = azurite_server.queue_url.removesuffix(f"/{azurite_server.account}")
    async with FaultProxy(root) as proxy:
        options = AzureQueueOptions(f"{proxy.url}/{azurite_server.account}", lease=300)
        queue = AzureQueue("azure", harness.name, harness.credential, options)
        await queue._ask("PUT", "", {})
        await queue.send([Outgoing(b"x")] * 40)
        proxy.plan(Fault(), Fault(status=500))
        assert len(await queue.receive(64, 0)) == 32
        assert not proxy.pending
        assert len(await queue.receive(64, 0)) == 8
        await queue.close()


async def test_what_is_sent_is_never_dropped(azurite_server: Azurite) -> None:
    """The service's own default is seven days: a dead letter, or an event that waits for an outage to end, would be lost."""
    queue = await AzureHarness(azurite_server).open()
    await queue._ask("PUT", "", {})
    await queue.send([Outgoing(b"x")])
    told = (await queue._ask("GET", "/messages", {"peekonly": "true"})).xml()
    assert "9999" in told.findtext("QueueMessage/ExpirationTime", "")
    await queue.close()


class Empty(AzureQueue):
    """Answers nothing, and notes when it was asked."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(
            "azure", "q", fixed_credentials("token"), AzureQueueOptions("http://127.0.0.1:9/account"), clock
        )
        self.asked: list[float] = []

    async def _take(self, limit: int) -> list[Message]:
        self.asked.append(self._clock.monotonic())
        return []


async def test_an_empty_queue_is_asked_ever_more_seldom() -> None:
    """A minute after the last message, six times a minute; at once by who does not wait, or after a send of ours."""
    clock = ManualClock()
    queue = Empty(clock)

    async def worker() -> None:
        while True:
            await queue.receive(10, 1.0)

    working = asyncio.create_task(worker())
    await clock.advance(60.0)
    assert queue.asked[:10] == [float(second) for second in range(10)]
    busy = len(queue.asked)
    await clock.advance(60.0)
    assert len(queue.asked) - busy == 6
    queue._polling.notify()
    await clock.advance(0.0)
    assert queue.asked[-1] == 120.0
    working.cancel()
    await asyncio.wait([working])
    await queue.receive(10, 0)
    assert queue.asked[-2:] == [120.0, 120.0]
    await queue.close()
