"""A queue on a Redis Stream and one consumer group.

A URL carries `redis[s]://[USER@]HOST[:PORT]/STREAM?group=GROUP`, and `list=KEY` for a list that MinIO fills. Other programs may
add entries: the field `body` is the message, or the only field. Scripts keep what a consumer group has not: leases and delays in
two sorted sets by the server's time, and the number of receives. What a consumer outside of these scripts has left pending for a
minute is taken over. Acknowledged entries are deleted, so a stream is for one group. Other keys of the queue are in its slot of a
cluster.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from itertools import chain

import orjson

from skyferry.errors import QueueError
from skyferry.model import QueueTraits
from skyferry.ports import Clock, Depth, Message, Outgoing
from skyferry.ports.inspection import QueueFacts, Unknown
from skyferry.queues.notifier import Notifier
from skyferry.queues.redis.inspection import inspect, may_send
from skyferry.queues.redis.listener import StreamListener
from skyferry.queues.redis.scheme import GROUP, TRAITS
from skyferry.queues.text_envelope import parse_attributes
from skyferry.redis.client import RedisClient
from skyferry.redis.scripts import LuaScript

POLL = 1.0  # seconds between looks without a listener
LISTENING = 10.0  # seconds between looks with it: what other clients release
CONSUMER = "skyferry"  # in the group: one for all workers, so that those that died leave none behind
BATCH = 1000  # messages in one script, which blocks the server meanwhile


def _load(name: str) -> LuaScript:
    return LuaScript(files(__package__).joinpath("lua", f"{name}.lua").read_text("utf-8"))


TAKE, SETTLE, SEND, DEPTH = map(_load, ("take", "settle", "send", "depth"))


class RedisQueue:
    """An `EventQueue` on one stream."""

    traits: QueueTraits = TRAITS

    def __init__(
        self,
        name: str,
        client: RedisClient[QueueError],
        clock: Clock,
        lease: float = 30.0,
        poll: float = POLL,
    ) -> None:
        """Take over the client. `lease` and `poll` are in seconds."""
        self.name, self.lease = name, lease
        self._client, self._clock, self._poll = client, clock, poll
        server = client.address.server
        self._stream, self._group = server.path[0], server.option("group", GROUP)
        self._list = server.option("list")
        tag = self._stream if "{" in self._stream else f"{{{self._stream}}}"
        suffixes = ("leased", "delayed", "attempts", "dedup", "dedup-names")
        self._keys = (self._stream, *(f"{tag}:{self._group}:{suffix}" for suffix in suffixes))
        self._notifier = Notifier()
        self._listener = StreamListener(client, self._stream, self._notifier.notify, clock)
        self._held: dict[str, str] = {}  # receipts by id, of what this client has not settled

    async def receive(self, limit: int, wait: float) -> list[Message]:
        """See `EventQueue`. What a cancelled call had leased comes again when the lease ends."""
        was_open = not self._client.closed
        if wait > 0:
            self._listener.start()
        try:
            return await self._receive(limit, self._clock.monotonic() + wait)
        except QueueError:
            if was_open and self._client.closed:  # during its script
                return []
            raise

    async def _receive(self, limit: int, deadline: float) -> list[Message]:
        while True:
            count = self._notifier.count
            batch, due = await self._take(limit)
            left = deadline - self._clock.monotonic()
            if batch or left <= 0:
                return batch
            pause = LISTENING if self._listener.listening and not self._list else self._poll
            await self._notifier.wait(count, self._clock, min(left, pause, due))
            if self._client.closed:
                return []

    async def extend(self, messages: Sequence[Message], seconds: float = 0.0) -> list[Message]:
        """See `EventQueue`."""
        return await self._settle("extend", messages, max(self.lease, seconds))

    async def ack(self, messages: Sequence[Message]) -> None:
        """See `EventQueue`. As durable as the server's `appendfsync` makes it."""
        await self._settle("ack", messages)

    async def release(self, messages: Sequence[Message], delay: float) -> None:
        """See `EventQueue`."""
        await self._settle("release", messages, max(0.0, delay))
        self._notifier.notify()

    async def send(self, messages: Sequence[Outgoing]) -> list[str]:
        """See `EventQueue`. As durable as the server's `appendfsync` makes it."""
        ids: list[bytes] = []
        for start in range(0, len(messages), BATCH):
            batch = messages[start : start + BATCH]
            arguments = list(chain.from_iterable(map(_arguments, batch)))
            ids += await self._client.run(lambda client: SEND.run(client, self._keys, arguments))  # noqa: B023 - awaited here
        self._notifier.notify()
        return [number.decode() for number in ids]

    async def depth(self) -> Depth:
        """See `EventQueue`. The stream counts, so a backlog does not slow it down."""
        row = await self._client.run(lambda client: DEPTH.run(client, self._keys[:3], ()))
        total, leased, delayed, age = row
        waiting = await self._client.run(lambda client: client.llen(self._list)) if self._list else 0
        return Depth(total - leased - delayed + waiting, leased, delayed, age / 1000)

    async def inspect(self) -> QueueFacts:
        """See `InspectableQueue`."""
        return await inspect(self._client, self._keys, self._group, self._list)

    async def sends(self) -> bool | Unknown:
        """See `InspectableQueue`."""
        return await may_send(self._client, self._stream)

    async def close(self) -> None:
        """End the leases of this client at once, and close its connections. A waiting `receive` returns []."""
        if self._client.closed:
            return
        try:
            held = [
                Message(id=number, body=b"", receipt=receipt, attempt=0, enqueued_at=0, lease_until=0)
                for number, receipt in self._held.items()
            ]
            await self.release(held, 0.0)
        finally:
            await self._listener.close()
            await self._client.close()
            self._notifier.notify()

    async def _take(self, limit: int) -> tuple[list[Message], float]:
        """Lease messages. Return them, and the seconds until a hidden one is due."""
        until = self._clock.time() + self.lease
        keys = (*self._keys[:4], self._list or self._stream)
        arguments = (self._group, CONSUMER, min(limit, BATCH), int(self.lease * 1000))
        found, due = await self._client.run(lambda client: TAKE.run(client, keys, arguments))
        batch = [_message(number, attempt, fields, until) for number, attempt, fields in found]
        self._held |= {message.id: message.receipt for message in batch}
        return batch, float("inf") if due < 0 else (due + 1) / 1000

    async def _settle(self, verb: str, messages: Sequence[Message], seconds: float = 0.0) -> list[Message]:
        """Change the leases. Return the messages whose lease was lost."""
        lost: list[Message] = []
        for start in range(0, len(messages), BATCH):
            batch = messages[start : start + BATCH]
            pairs = chain.from_iterable(message.receipt.split(",") for message in batch)
            arguments = (self._group, verb, int(seconds * 1000), *pairs)
            places = await self._client.run(lambda client: SETTLE.run(client, self._keys, arguments))  # noqa: B023 - awaited here
            lost += [batch[int(place)] for place in places]
            for message in batch if verb != "extend" else lost:
                if self._held.get(message.id) == message.receipt:
                    del self._held[message.id]
        return lost


def _arguments(message: Outgoing) -> tuple[object, ...]:
    dedup = message.dedup_id.encode("utf-8", "surrogatepass")
    return message.body, orjson.dumps(message.attributes), int(message.delay * 1000), dedup


def _message(number: bytes, attempt: int, fields: Sequence[bytes], until: float) -> Message:
    given = dict(zip(fields[::2], fields[1::2], strict=True))
    body = given.get(b"body")
    if body is None and len(given) == 1:  # of a program that has another name for it
        [body] = given.values()
    return Message(
        id=number.decode(),
        body=b"" if body is None else body,
        receipt=f"{number.decode()},{attempt}",
        attempt=attempt,
        enqueued_at=int(number.partition(b"-")[0]) / 1000,
        lease_until=until,
        attributes=parse_attributes(given.get(b"attributes", b"[]")),
    )
