"""A whole worker with large objects: a dead letter leaves no upload behind, a shutdown leaves one to go on with."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

from skyferry.clock import SystemClock
from skyferry.config.settings import QueueSettings, RouteSettings, Settings, StoreSettings
from skyferry.engine.consume.intake import EventReader
from skyferry.engine.consume.worker import Worker, WorkerPolicy
from skyferry.engine.context import EngineContext
from skyferry.engine.copy.copier import Copier
from skyferry.engine.copy.digests import InlineOffload
from skyferry.engine.copy.strategy import PartLimits
from skyferry.engine.resilience.memory_budget import MemoryBudget
from skyferry.errors import ConnectionLost
from skyferry.events.native import encode_event
from skyferry.ledgers.memory.ledger import MemoryLedger
from skyferry.model import Attributes, Change, Checksums, ObjectEvent, ObjectRef, Part, Provider, Upload
from skyferry.ports import Filter, Outgoing
from skyferry.queues.memory import MemoryQueue
from skyferry.records import Record
from skyferry.routing.routes import Routes
from skyferry.stores.memory import MemoryStore

SETTINGS = Settings(
    stores={"source": StoreSettings(url="memory://source"), "destination": StoreSettings(url="memory://destination")},
    routes=(RouteSettings.model_validate({"name": "r", "from": "source", "to": "destination"}),),
    queues=(QueueSettings(name="events", url="memory://events"),),
)


class Silence:
    """Nobody listens."""

    def on(self, record: Record) -> None:
        """Nothing."""


class Third(MemoryStore):
    """A store that takes two parts, and treats the third as the test says."""

    third: Callable[[], Any] | None = None

    async def write_part(self, upload: Upload, number: int, data: bytes, crc32c: str) -> Part:
        if number == 3 and self.third:
            await self.third()
        return await super().write_part(upload, number, data, crc32c)


class Lab:
    """One service's parts."""

    def __init__(self) -> None:
        self.clock = SystemClock()
        self.source, self.destination = MemoryStore("source", self.clock), Third("destination", self.clock)
        self.ledger, self.queue = MemoryLedger("one", self.clock), MemoryQueue("events", self.clock)
        self.routes = Routes(SETTINGS)

    async def send(self, retries: int) -> None:
        await self.source.write("k", bytes(5000), Attributes(), Checksums())
        source = ObjectRef(Provider.MEMORY, "source", "k")
        ids = ("11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222")
        event = ObjectEvent(ids[0], Change.CREATED, source, self.clock.time(), ids[1], max_retries=retries)
        await self.queue.send([Outgoing(encode_event(event))])

    def worker(self) -> Worker:
        context = EngineContext(self.ledger, self.routes.by_name, {}, self.clock, random.Random(1), Silence())
        stores = {"source": self.source, "destination": self.destination}
        copier = Copier(stores, MemoryBudget(10_000), InlineOffload(), self.clock, PartLimits(1000, 1, 100))
        return Worker(
            context, EventReader(self.routes), copier, [self.queue], WorkerPolicy(held_messages=16, batch=8, drain=0.0)
        )

    async def until(self, worker: Worker, reached: Callable[[], Any]) -> None:
        """Run it, and stop it as a shutdown does."""
        task = asyncio.create_task(worker.run())
        while not await reached():
            await asyncio.sleep(0.001)
        worker.drain()
        await task


async def broken() -> None:
    """As a line that is cut."""
    raise ConnectionLost


async def test_a_dead_letter_leaves_no_upload() -> None:
    """The failure would have let another attempt go on; there is none."""
    lab = Lab()
    lab.destination.third = broken
    await lab.send(retries=0)

    async def dead() -> bool:
        return bool((await lab.ledger.list_dead_letters(Filter())).items)

    await lab.until(lab.worker(), dead)
    assert not lab.destination.bucket.uploads
    assert [p async for p in lab.ledger.list_uploads()] == []


async def test_a_shutdown_leaves_the_upload_to_the_next() -> None:
    """Which finishes that very one."""
    lab, reached = Lab(), asyncio.Event()

    async def stall() -> None:
        reached.set()
        await asyncio.Event().wait()

    async def stalled() -> bool:
        return reached.is_set()

    async def finished() -> bool:
        return bool(lab.destination.bucket.objects)

    lab.destination.third = stall
    await lab.send(retries=3)
    await lab.until(lab.worker(), stalled)
    (upload,) = lab.destination.bucket.uploads
    (progress,) = [p async for p in lab.ledger.list_uploads()]
    assert progress.upload.id == upload
    lab.destination.third = None
    await lab.until(lab.worker(), finished)
    assert not lab.destination.bucket.uploads
    assert [p async for p in lab.ledger.list_uploads()] == []
