"""A queue on a stream of NATS JetStream and one durable pull consumer.

A URL carries `nats://[USER@]HOST[:PORT]/STREAM/CONSUMER?subject=SUBJECT`, or `tls://…`. A lease is the ack wait of the consumer; a
longer one is kept by signals of progress from this process. JetStream accepts acknowledgements of any delivery, so one whose lease
has ended by the monotonic clock of this process is not sent. The id of a message is its number in the stream.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import orjson
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext

from skyferry.errors import QueueError
from skyferry.frozen import dataclass
from skyferry.model import QueueTraits
from skyferry.ports import Clock, Depth, Message, Outgoing
from skyferry.ports.inspection import QueueFacts, Unknown
from skyferry.queues.concurrency import run_all
from skyferry.queues.nats.connection import FAILURES, GONE, NatsConnection
from skyferry.queues.nats.inspection import inspect
from skyferry.queues.nats.scheme import TRAITS
from skyferry.queues.text_envelope import parse_attributes

ATTRIBUTES = "Skyferry-Attributes"  # the header with the attributes, as JSON in ASCII
PULL = 30.0  # seconds of one request for messages
GLANCE = 0.05  # seconds of one that does not wait
TICKS = 4  # looks at longer leases in one ack wait


@dataclass(frozen=True, slots=True)
class _Lease:
    ends: float  # monotonic seconds, at the server
    until: float  # monotonic seconds, as asked for


class NatsQueue:
    """An `EventQueue` on one pull consumer."""

    traits: QueueTraits = TRAITS

    def __init__(self, name: str, connection: NatsConnection, clock: Clock) -> None:
        """Take over the connection."""
        self.name, self.lease = name, connection.options.lease
        self._connection, self._clock = connection, clock
        self._held: dict[str, _Lease] = {}  # by receipt, the subject that answers go to
        self._pulling = asyncio.Lock()
        self._ended = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None

    async def receive(self, limit: int, wait: float) -> list[Message]:
        """See `EventQueue`. The server wakes the receiver."""
        deadline = self._clock.monotonic() + wait
        while not self._ended.is_set():
            left = deadline - self._clock.monotonic()
            async with self._pulling:
                batch = await self._pull(limit, max(GLANCE, min(left, PULL)))
            if batch or self._clock.monotonic() >= deadline:
                return batch
        if self._connection.closed and wait <= 0:
            raise QueueError("it is closed", where=self.name)
        return []

    async def extend(self, messages: Sequence[Message], seconds: float = 0.0) -> list[Message]:
        """See `EventQueue`."""
        lost = [message for message in messages if not self._is_held(message)]
        kept = [message.receipt for message in messages if self._is_held(message)]
        await self._say_progress(kept)
        now = self._clock.monotonic()
        for receipt in kept:
            self._held[receipt] = _Lease(now + self._connection.ack_wait, now + max(self.lease, seconds))
        if seconds > self._connection.ack_wait and self._keeper is None:
            self._keeper = asyncio.create_task(self._keep(), name=f"leases of {self.name}")
        return lost

    async def ack(self, messages: Sequence[Message]) -> None:
        """See `EventQueue`. The server confirms each."""
        held = [message.receipt for message in messages if self._is_held(message)]
        await run_all([partial(self._answer, receipt, b"+ACK") for receipt in held])

    async def release(self, messages: Sequence[Message], delay: float) -> None:
        """See `EventQueue`."""
        verb = b"-NAK" + (orjson.dumps({"delay": int(delay * 1e9)}).join((b" ", b"")) if delay > 0 else b"")
        held = [message.receipt for message in messages if self._is_held(message)]
        await run_all([partial(self._answer, receipt, verb) for receipt in held])

    async def send(self, messages: Sequence[Outgoing]) -> list[str]:
        """See `EventQueue`. Raises CannotSend without a subject."""
        if self._connection.closed:
            raise QueueError("it is closed", where=self.name)
        if not messages:
            return []
        subject = self._connection.require_subject()
        await self._connection.subscribe()  # makes the stream
        return await run_all([partial(self._send, subject, message) for message in messages])

    async def depth(self) -> Depth:
        """See `EventQueue`. Leased messages include those that are delayed. It makes neither stream nor consumer."""
        if (consumer := await self._connection.find_consumer()) is None:  # a new one gets all messages
            stream = await self._connection.find_stream()
            return Depth(stream.state.messages if stream else 0, 0, -1, -1.0)
        return Depth(consumer.num_pending or 0, consumer.num_ack_pending or 0, -1, -1.0)

    async def inspect(self) -> QueueFacts:
        """See `InspectableQueue`."""
        return await inspect(self._connection)

    async def sends(self) -> bool | Unknown:
        """See `InspectableQueue`."""
        return Unknown("NATS does not report the permissions of a user") if self._connection.subject else False

    async def close(self) -> None:
        """End the leases of this client at once, and close the connection. A waiting `receive` returns []."""
        if self._ended.is_set():
            return
        self._ended.set()
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait((self._keeper,))
        try:
            now = self._clock.monotonic()
            held = [receipt for receipt, lease in self._held.items() if lease.ends > now]
            await run_all([partial(self._answer, receipt, b"-NAK") for receipt in held])
        finally:
            await self._connection.close()

    async def _pull(self, limit: int, wait: float) -> list[Message]:
        """Fetch once; a fetch that is aborted leaves no request behind that would take messages."""
        subscription = await self._connection.subscribe()
        self.lease = min(self._connection.options.lease, self._connection.ack_wait)
        self.traits = replace(TRAITS, limits_receives=self._connection.limits_receives)
        began = self._clock.monotonic()
        fetch = asyncio.ensure_future(subscription.fetch(limit, wait))
        ended = asyncio.ensure_future(self._ended.wait())
        try:
            await asyncio.wait((fetch, ended), return_when=asyncio.FIRST_COMPLETED)
            if not fetch.done():
                return []
            return [self._note(each, began) for each in fetch.result()]
        except TimeoutError:  # there are no messages, or the server is silent: ask it
            if not self._ended.is_set():
                timeout = self._connection.options.timeout
                await self._connection.run(lambda client, stream: client.flush(math.ceil(timeout)))
            return []
        except FAILURES as error:
            if isinstance(error, GONE):
                await self._connection.unsubscribe()
            raise self._connection._translate(error) from error
        finally:
            ended.cancel()
            if not fetch.done():
                fetch.cancel()
                await asyncio.shield(self._connection.unsubscribe())

    def _note(self, message: Msg, began: float) -> Message:
        now = self._clock.monotonic()
        self._held = (
            {receipt: lease for receipt, lease in self._held.items() if lease.ends > now}
            if (len(self._held) > 4096)
            else self._held
        )
        self._held[message.reply] = _Lease(now + self.lease, now + self.lease)
        return _message(message, self._clock.time() + self.lease)

    def _is_held(self, message: Message) -> bool:
        if self._connection.closed:
            raise QueueError("it is closed", where=self.name)
        lease = self._held.get(message.receipt)
        return lease is not None and lease.ends > self._clock.monotonic()

    async def _answer(self, receipt: str, verb: bytes) -> None:
        timeout = self._connection.options.timeout
        await self._connection.run(lambda client, stream: client.request(receipt, verb, timeout=timeout))
        self._held.pop(receipt, None)

    async def _say_progress(self, receipts: Sequence[str]) -> None:
        async def say(client: Client, stream: JetStreamContext) -> None:
            for receipt in receipts:
                await client.publish(receipt, b"+WPI")
            await client.flush(timeout=int(self._connection.options.timeout))

        if receipts:
            await self._connection.run(say)

    async def _keep(self) -> None:
        """Say that those with longer leases are in progress, so that each ends when it should, or a tick later."""
        while True:
            wait = self._connection.ack_wait
            await self._clock.sleep(wait / TICKS)
            now = self._clock.monotonic()
            due = [
                receipt
                for receipt, lease in self._held.items()
                if now < lease.ends < lease.until and (lease.ends - now < wait / 2 or now >= lease.until - wait)
            ]
            try:
                await self._say_progress(due)
            except QueueError:
                continue  # the calls of the worker report the outage
            for receipt in due:
                if lease := self._held.get(receipt):
                    self._held[receipt] = _Lease(now + wait, lease.until)

    async def _send(self, subject: str, message: Outgoing) -> str:
        headers = {ATTRIBUTES: json.dumps(message.attributes)} if message.attributes else None
        done = await self._connection.run(lambda client, stream: stream.publish(subject, message.body, headers=headers))
        return str(done.seq)


def _message(message: Msg, until: float) -> Message:
    metadata = message.metadata
    return Message(
        id=str(metadata.sequence.stream),
        body=message.data,
        receipt=message.reply,
        attempt=metadata.num_delivered or 1,
        enqueued_at=metadata.timestamp.timestamp(),
        lease_until=until,
        attributes=_attributes(message.headers or {}),
    )


def _attributes(headers: dict[str, str]) -> tuple[tuple[str, str], ...]:
    """Return the attributes that Skyferry sent, or the headers of another program."""
    return parse_attributes(headers[ATTRIBUTES]) if ATTRIBUTES in headers else tuple(headers.items())
