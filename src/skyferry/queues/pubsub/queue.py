"""Google Pub/Sub, by streaming pull.

A URL carries `pubsub://PROJECT/SUBSCRIPTION`, with `topic` where messages are sent too, `endpoint` for the emulator,
`lease` in seconds. `location` is `projects/PROJECT/subscriptions/SUBSCRIPTION`.

A release with a delay sets the ack deadline to it, at most 600 seconds; the message is delivered again when it ends. Only
subscriptions with a dead-letter policy count deliveries; without one, `attempt` is always 1. The delay of a sent message is
ignored: Pub/Sub has none. The message attribute `googclient_orderingkey` is the ordering key.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Protocol

from google.api_core.exceptions import GoogleAPICallError
from google.pubsub_v1.types import PubsubMessage, ReceivedMessage, StreamingPullRequest

from skyferry.clock import SystemClock
from skyferry.clouds.credentials import TokenProvider
from skyferry.errors import CannotSend, QueueError
from skyferry.ports import Clock, Depth, Message, Outgoing
from skyferry.ports.inspection import QueueFacts, Unknown
from skyferry.queues.concurrency import run_all
from skyferry.queues.notifier import Notifier
from skyferry.queues.pubsub.client import Metadata, PubSubClient, PubSubOptions
from skyferry.queues.pubsub.inspection import PUBLISH, allowed, inspect
from skyferry.queues.pubsub.scheme import TRAITS

CHUNK = 1000  # messages in one request
SHORTEST_STREAM = 10  # seconds of ack deadline that a stream may ask for
HEARTBEAT = 30.0  # seconds, as in Google's clients: network devices may drop a stream that is silent for minutes
FAREWELL = 1.0  # seconds for a stream to end by itself
LIVED = 60.0  # seconds after which the end of a stream is no failure: the service ends every stream with an error eventually
TRIES = 3  # of an acknowledgement that failed temporarily
ORDERING_KEY = "googclient_orderingkey"


class OnIds(Protocol):
    """Acknowledges, or moves the deadline of, some ack ids."""

    async def __call__(self, ids: list[str], metadata: Metadata, timeout: float) -> None: ...


class PubSubQueue:
    """An `EventQueue` on one subscription."""

    def __init__(
        self, name: str, location: str, credentials: TokenProvider, options: PubSubOptions, clock: Clock | None = None
    ) -> None:
        self.name, self.lease, self.traits = name, options.lease, TRAITS
        self._location, self._options = location, options
        self._client = PubSubClient(name, credentials, options)
        self._inspected = partial(inspect, self._client, location, credentials, options)
        self._clock = clock or SystemClock()
        self._notifier = Notifier()
        self._buffer: deque[Message] = deque()
        self._leases: dict[str, float] = {}  # end of the lease, by ack id
        self._stream: asyncio.Task[None] | None = None
        self._opened = 0.0  # monotonic seconds, when the stream was
        self._stopping = Notifier()
        self._idle: asyncio.Task[None] | None = None
        self._farewell: asyncio.Task[None] | None = None  # ends the stream and releases its messages
        self._closed = False

    async def receive(self, limit: int, wait: float) -> list[Message]:
        """See `EventQueue`."""
        self._check()
        deadline = self._clock.monotonic() + wait
        try:
            await self._wake()
            while not self._closed:
                count = self._notifier.count
                if batch := self._take(limit):
                    return batch
                if self._stream is None:
                    self._stream = asyncio.create_task(self._pump(limit), name=f"pull {self.name}")
                    self._opened = self._clock.monotonic()
                elif self._stream.done():
                    stream, self._stream = self._stream, None
                    if stream.exception() and self._clock.monotonic() - self._opened < LIVED:
                        stream.result()
                    continue
                left = deadline - self._clock.monotonic()
                if left <= 0:
                    break
                await self._notifier.wait(count, self._clock, left)
            return []
        finally:
            if not self._closed:
                self._idle = asyncio.create_task(self._linger(), name=f"idle {self.name}")
                if self._options.linger <= 0:
                    await asyncio.shield(self._idle)

    async def extend(self, messages: Sequence[Message], seconds: float = 0.0) -> list[Message]:
        """See `EventQueue`."""
        self._check()
        now = self._clock.time()
        held = [m.receipt for m in messages if self._holds(m, now)]

        def extended(receipt: str) -> None:  # at once: others may fail
            self._leases[receipt] = now + wanted

        wanted = min(self.traits.max_lease, max(self.lease, seconds))
        failed = await self._deadline(held, math.ceil(wanted), extended)
        kept = set(held) - failed
        for receipt in failed:
            self._leases.pop(receipt, None)
        return [m for m in messages if m.receipt not in kept]

    async def ack(self, messages: Sequence[Message]) -> None:
        """See `EventQueue`. On an exactly-once subscription, one that failed for good comes again."""
        self._check()
        now = self._clock.time()

        async def acknowledge(ids: list[str], metadata: Metadata, timeout: float) -> None:
            await self._client.subscriber.acknowledge(
                subscription=self._location, ack_ids=ids, metadata=metadata, timeout=timeout, retry=None
            )

        await self._confirmed(acknowledge, [m.receipt for m in messages if self._holds(m, now)])
        self._forget(messages)

    async def release(self, messages: Sequence[Message], delay: float) -> None:
        """See `EventQueue`; at most 600 seconds."""
        self._check()
        now = self._clock.time()
        held = [m.receipt for m in messages if self._holds(m, now)]
        await self._deadline(held, math.ceil(min(self.traits.max_delay, delay)))
        self._forget(messages)

    async def send(self, messages: Sequence[Outgoing]) -> list[str]:
        """See `EventQueue`. Without delays."""
        self._check()
        if messages and not self._options.topic:
            raise CannotSend(
                "no topic is configured, so nothing can be sent", where=self.name, hint="add ?topic=… to its URL"
            )
        ids: list[str] = []
        for start in range(0, len(messages), CHUNK):
            part = [_published(message) for message in messages[start : start + CHUNK]]

            async def publish(metadata: Metadata, timeout: float, part: list[PubsubMessage] = part) -> Sequence[str]:
                answer = await self._client.publisher.publish(
                    topic=self._options.topic, messages=part, metadata=metadata, timeout=timeout, retry=None
                )
                return answer.message_ids

            ids += await self._client.call(publish)
        return ids

    async def depth(self) -> Depth:
        """See `EventQueue`. Pub/Sub reports it only to Cloud Monitoring."""
        self._check()
        return Depth(-1, -1, -1, -1.0)

    async def inspect(self) -> QueueFacts:
        """See `InspectableQueue`."""
        return await self._inspected()

    async def sends(self) -> bool | Unknown:
        """See `InspectableQueue`."""
        return await allowed(self._client.publisher, self._client, self._options.topic, PUBLISH)

    async def close(self) -> None:
        """See `EventQueue`. What was not handed out yet is given back."""
        if self._closed:
            return
        self._closed = True
        self._notifier.notify()
        await self._wake()
        with suppress(QueueError):  # the leases expire
            await self._stop()
        await self._client.close()

    def _check(self) -> None:
        if self._closed:
            raise QueueError("it is closed", where=self.name)

    def _take(self, limit: int) -> list[Message]:
        now = self._clock.time()
        batch: list[Message] = []
        while self._buffer and len(batch) < limit:
            message = self._buffer.popleft()
            if self._holds(message, now):
                batch.append(message)
        return batch

    def _holds(self, message: Message, now: float) -> bool:
        return self._leases.get(message.receipt, 0.0) > now

    def _forget(self, messages: Sequence[Message]) -> None:
        for message in messages:
            self._leases.pop(message.receipt, None)

    async def _pump(self, limit: int) -> None:
        """Fill the buffer from one stream until it ends. Messages in the buffer are extended."""
        outstanding = self._options.outstanding if self._options.linger > 0 else limit
        first = StreamingPullRequest(
            subscription=self._location,
            stream_ack_deadline_seconds=max(SHORTEST_STREAM, math.ceil(self.lease)),
            max_outstanding_messages=outstanding,
            max_outstanding_bytes=self._options.outstanding_bytes,
        )
        stopping = self._stopping = Notifier()

        async def requests() -> AsyncIterator[StreamingPullRequest]:
            yield first
            await stopping.wait(0, self._clock, HEARTBEAT)
            while not stopping.count:
                yield StreamingPullRequest()
                await stopping.wait(0, self._clock, HEARTBEAT)

        async def opened(metadata: Metadata, _timeout: float) -> None:
            stream = await self._client.subscriber.streaming_pull(requests=requests(), metadata=metadata, retry=None)
            async for response in stream:
                await self._arrived(response.received_messages)

        keeper = asyncio.create_task(self._keep(), name=f"keep {self.name}")
        try:
            await self._client.call(opened)
        finally:
            await _cancel(keeper)
            self._notifier.notify()

    async def _arrived(self, received: Sequence[ReceivedMessage]) -> None:
        now = self._clock.time()
        if self.lease < SHORTEST_STREAM:
            await self._deadline([each.ack_id for each in received], math.ceil(self.lease))
        for receipt in [r for r, until in self._leases.items() if until <= now]:
            del self._leases[receipt]
        for each in received:
            self._leases[each.ack_id] = now + self.lease
            self._buffer.append(_message(each, now + self.lease))
        self._notifier.notify()

    async def _keep(self) -> None:
        while True:
            await self._clock.sleep(self.lease / 3)
            waiting = list(self._buffer)
            with suppress(QueueError):  # the next round comes before the lease ends
                if waiting:
                    await self.extend(waiting)

    async def _linger(self) -> None:
        """Release the buffered messages after a while without a receive, for other clients."""
        if self._options.linger > 0:
            await self._clock.sleep(self._options.linger)
        await self._parted()
        self._farewell = asyncio.create_task(self._stop(), name=f"stop {self.name}")
        await asyncio.shield(self._farewell)

    async def _wake(self) -> None:
        """Cancel the release of buffered messages; one that has begun is completed, even if the caller is cancelled."""
        await _cancel(self._idle)
        await self._parted()

    async def _parted(self) -> None:
        if self._farewell is not None:
            await asyncio.wait({self._farewell})

    async def _stop(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            self._stopping.notify()  # messages under way still arrive
            await asyncio.wait({stream}, timeout=FAREWELL)
        await _cancel(stream)
        left = [message.receipt for message in self._buffer]
        self._buffer.clear()
        for receipt in left:
            self._leases.pop(receipt, None)
        await self._deadline(left, 0)

    async def _deadline(
        self, receipts: Sequence[str], seconds: int, done: Callable[[str], None] = lambda receipt: None
    ) -> set[str]:
        async def modify(ids: list[str], metadata: Metadata, timeout: float) -> None:
            await self._client.subscriber.modify_ack_deadline(
                subscription=self._location,
                ack_ids=ids,
                ack_deadline_seconds=seconds,
                metadata=metadata,
                timeout=timeout,
                retry=None,
            )

        return await self._confirmed(modify, receipts, done)

    async def _confirmed(
        self, function: OnIds, ids: Sequence[str], done: Callable[[str], None] = lambda receipt: None
    ) -> set[str]:
        """Return the ids that failed permanently; retry those that failed temporarily.

        `done` is called with each id that succeeds, even if QueueError is raised for others.
        """
        parts = [list(ids[start : start + CHUNK]) for start in range(0, len(ids), CHUNK)]
        lost = await run_all([partial(self._part, function, part, done) for part in parts])
        return set().union(*lost)

    async def _part(self, function: OnIds, part: list[str], done: Callable[[str], None]) -> set[str]:
        lost: set[str] = set()
        for _ in range(TRIES):
            failed = await self._client.call(partial(_find_failures, function, part))
            for one in set(part) - set(failed):
                done(one)
            lost |= {one for one, what in failed.items() if what.startswith("PERMANENT")}
            part = [one for one in part if failed.get(one, "").startswith("TRANSIENT")]
            if not part:
                return lost
        raise QueueError("acknowledgements fail temporarily", where=self.name)


async def _find_failures(function: OnIds, ids: list[str], metadata: Metadata, timeout: float) -> Mapping[str, str]:
    """Return the failure of each ack id, as an exactly-once subscription reports it; {} = none."""
    try:
        await function(ids, metadata, timeout)
    except GoogleAPICallError as error:
        failed = {i: str(what) for each in error.details for i, what in dict(getattr(each, "metadata", {})).items()}
        found = {i: what for i, what in failed.items() if i in ids}
        if not found:
            raise
        return found
    return {}


def _message(each: ReceivedMessage, until: float) -> Message:
    message = each.message
    own = dict(message.attributes)
    if message.ordering_key:
        own[ORDERING_KEY] = message.ordering_key
    return Message(
        id=message.message_id,
        body=message.data,
        receipt=each.ack_id,
        attempt=each.delivery_attempt or 1,
        enqueued_at=message.publish_time.timestamp(),
        lease_until=until,
        attributes=tuple(sorted(own.items())),
    )


def _published(message: Outgoing) -> PubsubMessage:
    own = dict(message.attributes)
    key = own.pop(ORDERING_KEY, "")
    if not message.body and not own:
        own["skyferry-empty"] = "true"  # the service rejects a message without body and attributes
    return PubsubMessage(data=message.body, attributes=own, ordering_key=key)


async def _cancel(task: asyncio.Task[None] | None) -> None:
    """Cancel a task and ignore how it ends."""
    if task is not None:
        task.cancel()
        await asyncio.wait({task})
        _ = task.cancelled() or task.exception()
