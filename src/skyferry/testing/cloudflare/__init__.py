"""A fake of Cloudflare Queues for tests: the HTTP API of pull consumers, in memory, after its documentation. It is not the service.

    queues      list (with pages)
    consumers   list
    messages    push, pull, ack and retry with a delay

    async with serve(CloudflareQueues(token="…", clock=clock.time)) as url: ...

As the service says of itself, a pull does not wait, a lease cannot be renewed, a late ack is accepted, and a message is deleted
or moved once it was retried too often. Bodies of type json and bytes are returned in Base64. It has no limits of rate or size.
"""

from skyferry.testing.cloudflare.queues import CloudflareQueues, FakeQueue, serve

__all__ = ["CloudflareQueues", "FakeQueue", "serve"]
