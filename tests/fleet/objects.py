"""The objects and events of a drill, with a record of each change of the source."""

from __future__ import annotations

import asyncio
import hashlib
import random
import time
import uuid
from collections.abc import Sequence
from typing import TypeVar

from tests.fleet.servers import Servers

from skyferry.errors import QueueError
from skyferry.events.native import encode_event
from skyferry.model import Attributes, Change, Checksums, ObjectEvent, ObjectRef, Provider
from skyferry.ports import EventQueue, Outgoing
from skyferry.wiring.opener import Opener

T = TypeVar("T")
AT_ONCE = 16  # requests to the source
DUPLICATES, OVERWRITTEN, DELETED = 0.3, 0.1, 0.02
WRONG, POISON = 7, 5  # events that declare a wrong checksum, and messages that are no events


class Objects:
    """Source objects and their events. `history` has the MD5 of each version of a key, in order; None = a delete."""

    def __init__(self, servers: Servers, events: int, seed: int) -> None:
        self.history: dict[str, list[str | None]] = {}
        self.impossible: list[str] = []  # keys that no worker can copy
        self.poison = [f"no event {n}".encode() for n in range(POISON)]
        self.sent = 0
        self._dice = random.Random(seed)
        self._store = servers.source.store(servers.buckets[0])
        self._bucket = servers.buckets[0]
        self._opener = Opener(servers.settings, env=servers.env)
        self._queue: EventQueue = self._opener.queue("events")
        self._waiting: list[bytes] = []
        self._events = events

    async def prepare(self) -> None:
        """Write the objects. Their events wait for `send`."""
        made = round(self._events * (1 - DUPLICATES))
        keys = [f"{n % 50:02}/object {n}" for n in range(made)]
        self.impossible = [f"wrong/{n}" for n in range(WRONG)]
        await self._put([*keys, *self.impossible])
        bodies = [self._event(key) for key in keys]
        bodies += self._dice.choices(bodies, k=self._events - made)
        declared = Checksums(sha256=hashlib.sha256(b"something else").hexdigest())
        bodies += [self._event(key, checksums=declared) for key in self.impossible]
        self._waiting = [*bodies, *self.poison]
        self._dice.shuffle(self._waiting)
        changed = self._dice.sample(keys, round(made * (OVERWRITTEN + DELETED)))
        self._overwritten, self._deleted = changed[: round(made * OVERWRITTEN)], changed[round(made * OVERWRITTEN) :]

    async def send(self, slices: int) -> None:
        """Send one of so many slices that are left, and change objects meanwhile."""
        bodies, again, gone = (_take(one, slices) for one in (self._waiting, self._overwritten, self._deleted))
        await self._publish(bodies)
        await self._put(again)
        for key in gone:
            await self._store.delete(key)
            self.history[key].append(None)
        news = [self._event(key) for key in again] + [self._event(key, Change.DELETED) for key in gone]
        await self._publish(news)

    async def is_queue_empty(self) -> bool:
        """Return True once each message is acknowledged."""
        depth = await self._queue.depth()
        return not (depth.ready or depth.leased or depth.delayed)

    async def close(self) -> None:
        """Close the connections."""
        await self._queue.close()
        await self._opener.close()
        await self._store.close()

    async def _publish(self, bodies: Sequence[bytes]) -> None:
        for start in range(0, len(bodies), 500):
            await self._send([Outgoing(body) for body in bodies[start : start + 500]])
        self.sent += len(bodies)

    async def _send(self, messages: Sequence[Outgoing]) -> None:
        """Send messages, again if the server is away, as a cloud does; some may arrive twice."""
        while True:
            try:
                await self._queue.send(messages)
                return
            except QueueError:
                await asyncio.sleep(0.2)

    async def _put(self, keys: Sequence[str]) -> None:
        waiting = list(keys)

        async def work() -> None:
            while waiting:
                key = waiting.pop()
                versions = self.history.setdefault(key, [])
                body = f"{key} {len(versions)} ".encode() + self._dice.randbytes(self._dice.randrange(2048))
                await self._store.write(key, body, Attributes(), Checksums())
                versions.append(hashlib.md5(body, usedforsecurity=False).hexdigest())

        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(work())

    def _event(self, key: str, change: Change = Change.CREATED, checksums: Checksums | None = None) -> bytes:
        ids = (str(uuid.UUID(int=self._dice.getrandbits(128), version=4)) for _ in range(2))
        return encode_event(
            ObjectEvent(
                event_id=next(ids),
                change=change,
                source=ObjectRef(Provider.S3_COMPATIBLE, self._bucket, key),
                occurred_at=time.time(),
                correlation_id=next(ids),
                checksums=checksums or Checksums(),
            )
        )


def _take(items: list[T], slices: int) -> list[T]:
    """Remove one of so many equal slices, and return it."""
    count = -(-len(items) // max(1, slices))
    taken, items[:] = items[:count], items[count:]
    return taken
