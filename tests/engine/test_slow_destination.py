"""A destination that is slow or down does not stop the copies to another one of the same worker."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest
from tests.engine.lab import Lab

from skyferry.config.settings import RouteSettings, Settings, StoreSettings
from skyferry.engine.consume.intake import EventReader
from skyferry.engine.consume.worker import Worker, WorkerPolicy
from skyferry.engine.context import EngineContext
from skyferry.engine.copy.copier import Copier
from skyferry.engine.copy.digests import InlineOffload
from skyferry.engine.copy.strategy import PartLimits
from skyferry.engine.resilience.circuit_breaker import Breaker, BreakerPolicy
from skyferry.engine.resilience.memory_budget import MemoryBudget
from skyferry.errors import StoreUnavailable
from skyferry.events.native import encode_event
from skyferry.model import Attributes, Checksums, ObjectRef, Provider, QueueTraits
from skyferry.ports import ObjectStore, Outgoing
from skyferry.queues.memory import MemoryQueue, QueueState
from skyferry.stores.memory import MemoryBucket, MemoryStore

PART = 1000
PAIRS = {"slow-in": "slow", "fast-in": "fast"}
HOUR = 3600.0


class Hanging:
    """A store that answers no write, or only the first `quick` ones; or that is down."""

    def __init__(self, inner: MemoryStore) -> None:
        self._inner, self.down, self.writes, self.quick = inner, False, 0, 0

    def __getattr__(self, name: str) -> Any:
        inner = getattr(self._inner, name)
        if name not in ("write", "write_part", "head"):
            return inner

        async def hang(*args: Any, **options: Any) -> Any:
            self.writes += 1
            if self.down:
                raise StoreUnavailable
            if self.writes > self.quick:
                await asyncio.Event().wait()
            return await inner(*args, **options)

        return hang


class Pair(Lab):
    """A worker with two routes, each from a source, a queue and to a destination of its own. One destination hangs."""

    def __init__(self) -> None:
        stores = {name: StoreSettings(url=f"memory://{name}") for pair in PAIRS.items() for name in pair}
        routes = [RouteSettings.model_validate({"name": to, "from": at, "to": to}) for at, to in PAIRS.items()]
        super().__init__(settings=Settings(stores=stores, routes=tuple(routes)))
        self.stores: dict[str, Any] = {n: MemoryStore(n, self.clock, MemoryBucket(n)) for n in stores}
        self.slow = self.stores["slow"] = Hanging(self.stores["slow"])
        self.queues = {name: MemoryQueue(name, self.clock, 30.0, QueueState()) for name in PAIRS}

    async def announce(self, at: str, *keys: str, size: int = 4, queue: str = "") -> None:
        """Write objects of `size` bytes at a source and send their events to its queue, or to that of the other."""
        for key in keys:
            await self.stores[at].write(key, bytes(size), Attributes(), Checksums())
            event = self.event(key, ObjectRef(Provider.MEMORY, at, key))
            await self.queues[queue or at].send([Outgoing(encode_event(event))])

    def start(self, **policy: Any) -> Worker:
        """Return a worker."""
        breakers = {name: Breaker(BreakerPolicy(), self.clock) for name in self.stores}
        context = EngineContext(self.ledger(), self.routes.by_name, breakers, self.clock, random.Random(1), self)
        stores: dict[str, ObjectStore] = self.guard(breakers, self.stores)
        budget = MemoryBudget(8 * PART, pairs=len(PAIRS))
        copier = Copier(stores, budget, InlineOffload(), self.clock, PartLimits(PART, 4, 100))
        chosen = WorkerPolicy(drain=0.0, **{"queues": 2, "held_messages": 64, "batch": 16} | policy)
        return Worker(context, EventReader(self.routes), copier, list(self.queues.values()), chosen)

    async def arrive(self, *keys: str) -> None:
        """Wait until the objects are at the fast destination."""
        await self.until(lambda: set(keys) <= self.stores["fast"].bucket.objects.keys(), step=1, steps=60)


@pytest.mark.parametrize("size", [PART, 6 * PART])
async def test_large_objects_that_hang_leave_memory_and_places_to_others(size: int) -> None:
    """Small and large ones of another route pass."""
    lab = Pair()
    await lab.announce("slow-in", *(f"k{n}" for n in range(12)), size=size)
    async with lab.running(lab.start()):
        await lab.until(lambda: lab.slow.writes > 4)
        await lab.announce("fast-in", "small")
        await lab.announce("fast-in", "large", size=6 * PART)
        await lab.arrive("small", "large")


async def test_a_backlog_that_hangs_leaves_messages_to_other_queues() -> None:
    """All messages that may be processed are not those of one queue."""
    lab = Pair()
    await lab.announce("slow-in", *(f"k{n}" for n in range(200)))
    async with lab.running(lab.start()):
        await lab.until(lambda: lab.slow.writes > 4)
        for n in range(20):
            await lab.clock.advance(5)
            await lab.announce("fast-in", f"small{n}")
            await lab.arrive(f"small{n}")


@pytest.mark.parametrize(("queue", "limited"), [("fast-in", True), ("slow-in", False)])
async def test_a_backlog_of_a_store_that_is_down_leaves_others_their_room(queue: str, limited: bool) -> None:
    """Also after an hour; in one queue, if that does not limit how often its messages are received."""
    lab = Pair()
    lab.slow.down = True
    for each in lab.queues.values():
        each.traits = QueueTraits(limits_receives=limited)
    await lab.announce("slow-in", *(f"k{n}" for n in range(200)))
    async with lab.running(lab.start(waiting_messages=30)):
        for n in range(20):
            await lab.clock.advance(HOUR / 10)
            await lab.announce("fast-in", f"small{n}", queue=queue)
            await lab.arrive(f"small{n}")


async def test_a_backlog_that_waited_leaves_messages_to_other_queues() -> None:
    """The store is back, and slow: what waited for it does not take all places at once."""
    lab = Pair()
    lab.slow.down = True
    await lab.announce("slow-in", *(f"k{n}" for n in range(200)))
    worker = lab.start(waiting_messages=1000)
    async with lab.running(worker):
        await lab.until(lambda: worker.waiting == 200, step=1)
        lab.slow.down, lab.slow.quick = False, lab.slow.writes + 20
        await lab.until(lambda: lab.slow.writes > lab.slow.quick + 10, step=1)
        for n in range(20):
            await lab.clock.advance(5)
            await lab.announce("fast-in", f"small{n}")
            await lab.arrive(f"small{n}")


@pytest.mark.parametrize("queues", [1, 2])
@pytest.mark.parametrize("held", [1, 2, 3, 16])
async def test_receives_of_one_queue_leave_room_for_those_of_another(held: int, queues: int) -> None:
    """One queue is configured, and the other one is that of redriven dead letters; or both are configured."""
    lab = Pair()
    async with lab.running(lab.start(held_messages=held, queues=queues)):
        for n in range(5):
            await lab.clock.advance(5)
            await lab.announce("fast-in", f"small{n}")
            await lab.arrive(f"small{n}")
