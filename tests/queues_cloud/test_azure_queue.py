"""What the adapter of Storage Queue promises beyond the queue's contract."""

from __future__ import annotations

import pytest

from skyferry.credentials import fixed
from skyferry.errors import QueueError
from skyferry.ports import Outgoing
from skyferry.queues.azure_queue import AzureQueue, AzureQueueOptions
from skyferry.testing.servers.proxy import Fault, FaultProxy


async def test_the_page_of_a_proxy_is_a_queue_error() -> None:
    """Not the end of the service: the worker expects it, and comes again."""
    async with FaultProxy("http://127.0.0.1:9") as proxy:
        queue = AzureQueue("azure", "q", fixed("token"), AzureQueueOptions(f"{proxy.url}/account"))
        proxy.plan(*[Fault(status=200, body=b"<p>Please log in")] * 2)
        with pytest.raises(QueueError):
            await queue.receive(1, 0)
        with pytest.raises(QueueError):
            await queue.send([Outgoing(b"x")])
        await queue.close()
