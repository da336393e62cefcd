"""A Cloudflare Queue with a pull consumer, as R2 notifies it.

A URL carries `r2q://ACCOUNT/QUEUE`: the account's id, and the queue's id or name.

The service neither waits for messages nor renews a lease: an empty queue is polled less and less often, and a message is hidden
once, for `lease` seconds. It counts attempts, and deletes a message after `max_retries` of its consumer, or moves it to that
consumer's dead-letter queue. It returns no id for a sent message, so Skyferry sends one along.
"""

from __future__ import annotations

import base64
import binascii
import math
import uuid
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from skyferry.clock import SystemClock
from skyferry.clouds.credentials import TokenProvider
from skyferry.errors import QueueError
from skyferry.frozen import dataclass
from skyferry.ports import Clock, Depth, Message, Outgoing
from skyferry.ports.inspection import QueueFacts, Unknown
from skyferry.queues.concurrency import receive_rest, run_all
from skyferry.queues.polling import Polling
from skyferry.queues.r2.api import QueuesApi
from skyferry.queues.r2.inspection import inspect
from skyferry.queues.r2.scheme import API, TRAITS
from skyferry.queues.text_envelope import unwrap, wrap

BATCH = 100  # messages in one answer, and leases in one request
ENCODED = ("json", "bytes")  # content types that the service returns in Base64
ID = "skyferry-id"  # the attribute with the id of a message that Skyferry has sent


@dataclass(frozen=True, slots=True)
class R2QueueOptions:
    """Options of one queue."""

    account: str
    endpoint: str = API
    lease: float = 3600.0  # seconds that a message is hidden
    poll: float = 1.0  # seconds between polls of an empty queue
    slowest: float = 10.0  # the longest interval, in seconds


class R2Queue:
    """An `EventQueue` on one Cloudflare Queue."""

    def __init__(
        self, name: str, queue: str, token: TokenProvider, options: R2QueueOptions, clock: Clock | None = None
    ) -> None:
        self.name, self.lease = name, options.lease
        self.traits = replace(TRAITS, max_lease=options.lease, max_hold=options.lease)
        self._api = QueuesApi(name, queue, options.account, options.endpoint, token)
        self._clock = clock or SystemClock()
        self._polling = Polling(self._clock, options.poll, options.slowest)
        self._held: dict[str, float] = {}  # the end of each lease, by its id
        self._backlog = -1  # messages in the queue at the last receive
        self._closed = False

    async def receive(self, limit: int, wait: float) -> list[Message]:
        """See `EventQueue`. Looks at once where it does not wait, and after a send or release of this process."""
        self._check()
        return await self._polling.receive(partial(self._take, limit), wait)

    async def extend(self, messages: Sequence[Message], seconds: float = 0.0) -> list[Message]:
        """See `EventQueue`. A lease cannot be renewed: this only returns the messages whose lease has ended."""
        self._check()
        return [message for message in messages if not self._is_held(message)]

    async def ack(self, messages: Sequence[Message]) -> None:
        """See `EventQueue`. The service accepts a stale lease, so it is not sent."""
        self._check()
        await self._end("acks", [{"lease_id": message.receipt} for message in messages if self._is_held(message)])

    async def release(self, messages: Sequence[Message], delay: float) -> None:
        """See `EventQueue`."""
        self._check()
        seconds = math.ceil(min(self.traits.max_delay, max(0.0, delay)))
        held = [message.receipt for message in messages if self._is_held(message)]
        await self._end("retries", [{"lease_id": lease, "delay_seconds": seconds} for lease in held])
        self._polling.notify()

    async def send(self, messages: Sequence[Outgoing]) -> list[str]:
        """See `EventQueue`. A message and its wrapping have room for 128 KB."""
        self._check()
        ids = await run_all([partial(self._send, message) for message in messages])
        self._polling.notify()
        return ids

    async def depth(self) -> Depth:
        """See `EventQueue`. The service reports one number for all messages, with each receive."""
        self._check()
        return Depth(self._backlog, -1, -1, -1.0)

    async def inspect(self) -> QueueFacts:
        """See `InspectableQueue`."""
        return await inspect(self._api, self.traits)

    async def sends(self) -> bool | Unknown:
        """See `InspectableQueue`."""
        return Unknown("Cloudflare does not report the permissions of a token")

    async def close(self) -> None:
        """See `EventQueue`. Leases run out by themselves."""
        self._closed = True
        self._polling.close()
        await self._api.close()

    def _check(self) -> None:
        if self._closed:
            raise QueueError("it is closed", where=self.name)

    def _is_held(self, message: Message) -> bool:
        return self._held.get(message.receipt, 0.0) > self._clock.time()

    async def _take(self, limit: int) -> list[Message]:
        return await receive_rest(await self._pull(min(limit, BATCH)), self._pull, limit, BATCH)

    async def _pull(self, limit: int) -> list[Message]:
        now = self._clock.time()
        body = {"batch_size": limit, "visibility_timeout_ms": math.ceil(self.lease * 1000)}
        result = await self._api.call("POST", "/messages/pull", body) or {}
        self._backlog = int(result.get("message_backlog_count", -1))
        found = [_message(each, now + self.lease) for each in result.get("messages", [])]
        for lease in [one for one, until in self._held.items() if until <= now]:
            del self._held[lease]
        self._held.update((message.receipt, message.lease_until) for message in found)
        return found

    async def _end(self, how: str, leases: Sequence[dict[str, object]]) -> None:
        for start in range(0, len(leases), BATCH):
            batch = leases[start : start + BATCH]
            await self._api.call("POST", "/messages/ack", {"acks": [], "retries": [], how: batch})
            for lease in batch:
                self._held.pop(str(lease["lease_id"]), None)

    async def _send(self, message: Outgoing) -> str:
        name = str(uuid.uuid4())
        delay = math.ceil(min(self.traits.max_send_delay, message.delay))
        text = wrap(message.body, ((ID, name), *message.attributes))
        await self._api.call("POST", "/messages", {"body": text, "content_type": "text", "delay_seconds": delay})
        return name


def _message(entry: dict[str, Any], until: float) -> Message:
    body, attributes = unwrap(_body(entry))
    own = dict(attributes).get(ID, "")
    return Message(
        id=own or str(entry["id"]),
        body=body,
        receipt=str(entry["lease_id"]),
        attempt=int(entry.get("attempts", 1)),
        enqueued_at=int(entry.get("timestamp_ms", 0)) / 1000,
        lease_until=until,
        attributes=tuple(pair for pair in attributes if pair[0] != ID),
    )


def _body(entry: dict[str, Any]) -> str:
    """Return the body as it was sent."""
    text = str(entry.get("body", ""))
    if (entry.get("metadata") or {}).get("CF-Content-Type") not in ENCODED:
        return text
    try:
        return base64.b64decode(text, validate=True).decode("utf-8", "surrogateescape")
    except binascii.Error:  # not what the documentation says: the parser reports it
        return text
