"""A world on a clock that the test moves: two stores and a queue in memory, and workers on them."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from tests.engine.copy.test_multipart import SETTINGS

from skyferry.engine.consume.intake import EventReader
from skyferry.engine.consume.worker import Worker, WorkerPolicy
from skyferry.engine.context import EngineContext
from skyferry.engine.copy.copier import Copier
from skyferry.engine.copy.digests import InlineOffload
from skyferry.engine.copy.strategy import PartLimits
from skyferry.engine.resilience.circuit_breaker import Breaker, BreakerPolicy
from skyferry.engine.resilience.memory_budget import MemoryBudget
from skyferry.engine.resilience.protection import Protection, protect_store
from skyferry.events.native import encode_event
from skyferry.ledgers.memory.ledger import MemoryLedger
from skyferry.ledgers.memory.state import MemoryState
from skyferry.model import Attributes, Change, Checksums, ObjectEvent, ObjectRef, Provider, QueueTraits
from skyferry.ports import Message, Outgoing
from skyferry.queues.memory import MemoryQueue, QueueState
from skyferry.records import Record
from skyferry.routing.routes import Routes
from skyferry.stores.memory import MemoryBucket, MemoryStore
from skyferry.testing.clock import ManualClock


class Counted(MemoryQueue):
    """Knows how often each message was received."""

    def __init__(self, clock: ManualClock, lease: float, state: QueueState, received: dict[str, int]) -> None:
        super().__init__("events", clock, lease, state)
        self._received = received

    async def receive(self, limit: int, wait: float) -> list[Message]:
        messages = await super().receive(limit, wait)
        for message in messages:
            self._received[message.id] = message.attempt
        return messages


class Lab:
    """The state that outlives a worker."""

    def __init__(self, lease: float = 30.0, settings: Any = SETTINGS) -> None:
        self.clock, self.lease = ManualClock(), lease
        self.routes = Routes(settings)
        self.source = MemoryStore("source", self.clock, MemoryBucket("source"))
        self.destination: Any = MemoryStore("destination", self.clock, MemoryBucket("destination"))
        self.bucket = self.destination.bucket
        self.ledger_state, self.queue_state = MemoryState(), QueueState()
        self.heard: list[Record] = []
        self.received: dict[str, int] = {}  # how often, by message id
        self.queue_traits = QueueTraits()
        self.born = 0
        self.streamed = 0  # bytes of the largest object that is streamed

    def on(self, record: Record) -> None:
        """Keep a record."""
        self.heard.append(record)

    def count(self, event: str) -> int:
        """Return the number of records of this event."""
        return sum(record.event == event for record in self.heard)

    async def put(self, key: str, data: bytes = b"data") -> None:
        """Write at the source."""
        await self.source.write(key, data, Attributes(), Checksums())

    async def send(self, *keys: str, **changes: Any) -> list[str]:
        """Announce keys; the ids of the messages."""
        queue = MemoryQueue("events", self.clock, self.lease, self.queue_state)
        return await queue.send([Outgoing(encode_event(replace(self.event(key), **changes))) for key in keys])

    def event(self, key: str, source: ObjectRef | None = None) -> ObjectEvent:
        """A new event of a key."""
        source = source or ObjectRef(Provider.MEMORY, "source", key)
        return ObjectEvent(str(uuid.uuid4()), Change.CREATED, source, self.clock.time(), str(uuid.uuid4()))

    def ledger(self) -> MemoryLedger:
        """Another process's."""
        self.born += 1
        return MemoryLedger(f"worker-{self.born}", self.clock, state=self.ledger_state)

    def worker(self, ledger: Any = None, policy: WorkerPolicy | None = None) -> Worker:
        """Another one."""
        clock, dice = self.clock, random.Random(1)
        stores = {"source": self.source, "destination": self.destination}
        breakers = {name: Breaker(BreakerPolicy(), clock) for name in stores}
        context = EngineContext(ledger or self.ledger(), self.routes.by_name, breakers, clock, dice, self)
        guarded = self.guard(breakers, stores)
        copier = Copier(
            guarded, MemoryBudget(10_000), InlineOffload(), clock, PartLimits(1000, 1, 100, streamed=self.streamed)
        )
        queue = Counted(clock, self.lease, self.queue_state, self.received)
        queue.traits = self.queue_traits
        return Worker(
            context,
            EventReader(self.routes),
            copier,
            [queue],
            policy or WorkerPolicy(held_messages=64, batch=16, drain=0.0),
        )

    def guard(self, breakers: Mapping[str, Breaker], stores: Mapping[str, Any]) -> dict[str, Any]:
        """Return the stores with their protections."""
        dice = random.Random(1)
        return {n: protect_store(store, Protection(breakers[n], self.clock, self, dice)) for n, store in stores.items()}

    async def left(self) -> int:
        """Messages still in the queue, wherever there."""
        depth = await MemoryQueue("events", self.clock, self.lease, self.queue_state).depth()
        return depth.ready + depth.leased + depth.delayed

    async def drain(self, worker: Worker, task: asyncio.Task[None]) -> None:
        """End a worker as a shutdown does."""
        worker.drain()
        while not task.done():
            await self.clock.advance(1)
        await task

    @asynccontextmanager
    async def running(self, *workers: Worker) -> AsyncIterator[None]:
        """While inside; then they are drained."""
        tasks = [asyncio.create_task(worker.run()) for worker in workers]
        try:
            yield
            for worker, task in zip(workers, tasks, strict=True):
                await self.drain(worker, task)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def until(self, reached: Callable[[], bool], step: float = 0.01, steps: int = 1000) -> None:
        """Let time pass until then."""
        for _ in range(steps):
            if reached():
                return
            await self.clock.advance(step)
        raise AssertionError("not reached")


class Gated:
    """A ledger that settles only what the gate lets through, one call after the other."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.gate = asyncio.Event()
        self.waiting = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def settle(self, settlements: Sequence[Any]) -> Any:
        """As inside, once it may."""
        self.waiting += 1
        await self.gate.wait()
        self.waiting -= 1
        return await self._inner.settle(settlements)
