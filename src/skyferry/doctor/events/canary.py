"""A canary at a source, and its event in a queue.

The queue may be in use, so other messages are received before the canary's. Each is received once, kept leased while the
listener runs, and then released. Released at once, it would be redelivered again and again, and use up the receives that a
redrive policy counts. Only messages about the canary alone are acknowledged.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from skyferry.errors import EventError, SkyferryError
from skyferry.events.detect import parse_message
from skyferry.model import Change
from skyferry.ports import Clock, EventQueue, Message

MOST = 1000  # other messages that are kept leased
BATCH = 100
GLANCE = 0.05  # seconds between checks for received events
POLL = 1.0  # seconds of one receive, so that none is aborted


@dataclass(frozen=True, slots=True)
class Canary:
    """The canary, as events name it."""

    bucket: str
    key: str

    def all_of(self, message: Message) -> set[Change]:
        """Return the changes of the canary in a message; empty if it is also about something else."""
        try:
            said = parse_message(message.body, dict(message.attributes))
        except EventError:
            return set()
        same = all((event.source.bucket, event.source.key) == (self.bucket, self.key) for event in said.events)
        alone = not (said.ignored or said.test or said.faulty)
        return {event.change for event in said.events} if same and alone else set()


@dataclass
class CanaryListener:
    """Receives from one queue."""

    queue: EventQueue
    subject: Canary
    clock: Clock
    heard: dict[Change, float] = field(default_factory=dict)  # when, in monotonic seconds
    others: list[Message] = field(default_factory=list)
    failure: SkyferryError | None = None
    full: bool = False
    _done: bool = False

    async def listen(self) -> None:
        """Receive until `stop`, or until too many other messages wait."""
        try:
            self.full = (await self.queue.depth()).ready > MOST
            renewed = self.clock.monotonic()
            while not self._done and not self.full:
                await self._take(await self.queue.receive(BATCH, POLL))
                self.full = len(self.others) > MOST
                if self.clock.monotonic() - renewed > self.queue.lease / 3:
                    await self.queue.extend(self.others)
                    renewed = self.clock.monotonic()
        except SkyferryError as error:
            self.failure = error

    async def _take(self, messages: Sequence[Message]) -> None:
        for message in messages:
            said = self.subject.all_of(message)
            for change in said:
                self.heard.setdefault(change, self.clock.monotonic())
            if said:
                await self.queue.ack([message])
            else:
                self.others.append(message)

    def stop(self) -> None:
        """Stop after the current receive."""
        self._done = True

    async def give_back(self) -> None:
        """Release other messages. If that fails, their leases expire."""
        with suppress(SkyferryError):
            await self.queue.release(self.others, 0.0)


@dataclass(frozen=True, slots=True)
class CanaryListeners:
    """Listeners at several queues."""

    each: Sequence[CanaryListener]
    tasks: Sequence[asyncio.Task[None]]
    clock: Clock

    async def heard(self, change: Change, wait: float) -> CanaryListener | None:
        """Return the listener that received the change, or None after `wait` seconds or when all have stopped."""
        end = self.clock.monotonic() + wait
        while True:
            if found := next((ear for ear in self.each if change in ear.heard), None):
                return found
            if self.clock.monotonic() >= end or (self.tasks and all(task.done() for task in self.tasks)):
                return None
            await self.clock.sleep(GLANCE)


@asynccontextmanager
async def listen_for(queues: Sequence[EventQueue], subject: Canary, clock: Clock) -> AsyncIterator[CanaryListeners]:
    """Listen during the block; then release all other messages."""
    ears = [CanaryListener(queue, subject, clock) for queue in queues]
    tasks = [asyncio.create_task(ear.listen(), name=f"listen {ear.queue.name}") for ear in ears]
    try:
        yield CanaryListeners(ears, tasks, clock)
    finally:
        await asyncio.shield(_end(ears, tasks))


async def _end(ears: Sequence[CanaryListener], tasks: Sequence[asyncio.Task[None]]) -> None:
    for ear in ears:
        ear.stop()
    await asyncio.gather(*tasks)
    for ear in ears:
        await ear.give_back()
