"""Leases are kept while copies take long, whatever befalls the calls that keep them."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

from tests.engine.copy.test_multipart import SETTINGS, Silence

from skyferry.clock import SystemClock
from skyferry.engine.consume.attempt import Lease, find_lease_end
from skyferry.engine.consume.in_flight import InFlight, LeasedMessage, TransferTask
from skyferry.engine.consume.intake import EventReader
from skyferry.engine.consume.leases import LeaseKeeper
from skyferry.engine.consume.worker import Worker, WorkerPolicy
from skyferry.engine.context import EngineContext
from skyferry.engine.copy.copier import Copier
from skyferry.engine.copy.digests import InlineOffload
from skyferry.engine.copy.strategy import PartLimits
from skyferry.engine.resilience.memory_budget import MemoryBudget
from skyferry.ledgers.memory.ledger import MemoryLedger
from skyferry.model import Claim
from skyferry.ports import Clock, Message, Outgoing
from skyferry.queues.memory import MemoryQueue
from skyferry.routing.routes import Routes
from skyferry.testing.ledger.harness import transfer as make_transfer


class Hanging(MemoryQueue):
    """The first extension gets no answer."""

    def __init__(self, clock: Clock, lease: float) -> None:
        super().__init__("hanging", clock, lease)
        self.asked, self.again = asyncio.Event(), asyncio.Event()

    async def extend(self, messages: Sequence[Message], seconds: float = 0.0) -> list[Message]:
        if not self.asked.is_set():
            self.asked.set()
            await asyncio.Event().wait()
        self.again.set()
        return await super().extend(messages, seconds)


class SilentLedger(MemoryLedger):
    """The first renewal gets no answer."""

    def __init__(self, clock: Clock, lease: float) -> None:
        super().__init__("silent", clock, lease)
        self.renewals = 0
        self.again = asyncio.Event()

    async def renew(self, claims: Sequence[Claim]) -> list[Claim]:
        self.renewals += 1
        if self.renewals == 1:
            await asyncio.Event().wait()
        self.again.set()
        return await super().renew(claims)


async def holding(clock: Clock, *queues: MemoryQueue) -> Worker:
    """A worker that has a message of each queue in hand, and does not get done with it."""
    routes = Routes(SETTINGS)
    context = EngineContext(MemoryLedger("one", clock), routes.by_name, {}, clock, random.Random(1), Silence())
    copier = Copier({}, MemoryBudget(1), InlineOffload(), clock, PartLimits())
    worker = Worker(context, EventReader(routes), copier, queues, WorkerPolicy(held_messages=len(queues)))
    for queue in queues:
        await queue.send([Outgoing(b"x")])
        (message,) = await queue.receive(1, 0)
        worker._in_flight.add_messages([LeasedMessage(queue, message)])
    return worker


async def test_an_extension_that_hangs_is_tried_again_within_the_lease() -> None:
    """Not only once its connection is given up, which may take longer than the lease."""
    clock = SystemClock()
    queue = Hanging(clock, 0.5)
    worker = await holding(clock, queue)
    running = asyncio.create_task(worker.run())
    async with asyncio.timeout(30):
        await queue.again.wait()
    running.cancel()
    await asyncio.wait({running})


async def test_a_renewal_that_hangs_is_tried_again_within_the_lease() -> None:
    """The end of the lease moves with the answer that comes."""
    clock = SystemClock()
    ledger = SilentLedger(clock, 1.0)
    transfer = make_transfer("t")
    (claim,) = await ledger.claim([transfer])
    assert isinstance(claim, Claim)
    in_flight = InFlight(1)
    lease = Lease(find_lease_end(clock, ledger.lease), clock.monotonic)
    task = in_flight.tasks["t"] = TransferTask(transfer, [], claim)
    task.lease = lease
    context = EngineContext(ledger, Routes(SETTINGS).by_name, {}, clock, random.Random(1), Silence())
    keeper, first_end = asyncio.create_task(LeaseKeeper(context, in_flight).run([])), lease.ends
    async with asyncio.timeout(30):
        await ledger.again.wait()
        while lease.ends == first_end:
            await asyncio.sleep(0.01)
    keeper.cancel()
    await asyncio.wait({keeper})
