"""A command that begins in one process, and goes on in several once that pays."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from skyferry.errors import SkyferryError
from skyferry.frozen import dataclass
from skyferry.processes.counts import find_most
from skyferry.status import QueueBytes, merge_backlogs, merge_oldest

if TYPE_CHECKING:
    from skyferry.config.settings import LimitSettings
    from skyferry.engine.service import Service, WorkLoop
    from skyferry.ports import EventQueue
    from skyferry.processes.pool import WorkerPool  # a command that does not grow never imports it
    from skyferry.processes.usage import Usage, UsageMeter


@dataclass(frozen=True, slots=True)
class GrowthPolicy:
    """The conditions under which more processes pay, and their number."""

    window: float = 0.15  # seconds of one measurement
    bound: float = 0.9  # cores, at least, that a process uses if its interpreter is the bound
    lacking: float = 0.6  # of a core, at most, that the last of the idle cores may be in use
    rest: float = 0.7  # seconds, at least, that the rest would take: start and handover take a quarter of a second
    rate: float = 200.0  # objects a second, at least: if there are fewer, bytes are the bound, which threads share
    memory: int = 128 * 2**20  # bytes, at least, that are left for each; the budget for objects is divided
    in_flight: int = 64 * 2**20  # bytes, at most, that this process completes before the others begin


POLICY = GrowthPolicy()


@dataclass(frozen=True, slots=True)
class Growable:
    """A command that may grow: its state, and its actions."""

    queue: EventQueue  # in memory: it knows its depth
    is_listed: Callable[[], bool]  # all events are in the queue
    open_pool: Callable[[int], WorkerPool]  # with so many children, which are held. Raises ConfigError
    warn: Callable[[SkyferryError], None]  # of an error because of which it stays in one process


def choose_count(policy: GrowthPolicy, usage: Usage, settled: int, rest: int, most: int) -> int:
    """Return the number of processes that finish sooner than one; 1 if none does.

    `settled` objects in the time of `usage`, `rest` are left.
    """
    rate = settled / usage.seconds
    if usage.own < policy.bound or rate < policy.rate or rest < rate * policy.rest:
        return 1
    return max(1, min(most, 1 + int(usage.idle + policy.lacking)))


async def grow(
    service: Service, command: Growable, limits: LimitSettings, policy: GrowthPolicy, meter: UsageMeter
) -> None:
    """Wait until more processes pay, start them, and pass the work to them. Cancel it at the end of the command."""
    if (most := find_most(limits)) < 2:
        return
    count = await _wait_until_it_pays(service.worker, command, policy, meter, most)
    try:
        pool = command.open_pool(count)
    except SkyferryError:  # a store that others cannot open: one process it is
        return
    running = asyncio.create_task(pool.run(), name="processes")
    try:
        if (failure := await _wait_until_ready(pool, running)) is not None:
            if not service.worker.draining:
                command.warn(failure)
            return
        while _count_bytes(service.worker) > policy.in_flight:  # noqa: ASYNC110 - no event shows that large objects are complete
            await asyncio.sleep(policy.window)
        if not service.worker.draining:
            local, service.worker = service.worker, WorkHandover(service.worker, pool, running)
            local.drain()
    finally:
        if not isinstance(service.worker, WorkHandover):
            await _end(running)


async def _wait_until_it_pays(
    worker: WorkLoop, command: Growable, policy: GrowthPolicy, meter: UsageMeter, most: int
) -> int:
    """Return the number of processes that pay by two measurements in a row."""
    before, last = worker.arrivals - worker.in_flight, 1
    meter.measure()
    while True:
        await asyncio.sleep(policy.window)
        usage, settled, depth = meter.measure(), worker.arrivals - worker.in_flight, await command.queue.depth()
        # While the source is listed, the queue shows only the next two thousand. As many again as so far is a fair guess.
        rest = depth.ready + depth.leased + depth.delayed + (0 if command.is_listed() else settled)
        count = choose_count(policy, usage, settled - before, rest, most)
        both = min(last, count)
        if both > 1 and (fitting := int(min(both, meter.find_memory() / policy.memory))) > 1:
            return fitting
        before, last = settled, count


async def _wait_until_ready(pool: WorkerPool, running: asyncio.Task[None]) -> SkyferryError | None:
    """Return the error of a child that could not begin, if any."""
    ready = asyncio.create_task(pool.wait_until_ready(), name="wait for processes")
    try:
        await asyncio.wait({running, ready}, return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            await running
    except* SkyferryError as group:
        failures = [error for error in group.exceptions if isinstance(error, SkyferryError)]
    else:
        failures = []
    finally:
        ready.cancel()
    return failures[0] if failures else None


def _count_bytes(worker: WorkLoop) -> int:
    return sum(queue.received for queue in worker.backlog().values())


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


class WorkHandover:
    """The work of a service that passes from the worker of this process to others: they begin when it has drained.

    So they never share limits, and no two of them have one object.
    """

    def __init__(self, local: WorkLoop, pool: WorkerPool, running: asyncio.Task[None]) -> None:
        """`pool` is held, and `running` runs it."""
        self._local, self._pool, self._running = local, pool, running
        self.draining = False

    @property
    def in_flight(self) -> int:
        """The number of transfers in flight."""
        return self._local.in_flight + self._pool.in_flight

    @property
    def arrivals(self) -> int:
        """The number of transfers so far."""
        return self._local.arrivals + self._pool.arrivals

    @property
    def idle(self) -> bool:
        """True if nothing is in flight."""
        return self._local.idle and self._pool.idle

    def list_claimed(self) -> list[tuple[str, str]]:
        """Return store and destination key of each transfer that this process has claimed."""
        return self._local.list_claimed()

    def oldest(self) -> dict[str, float]:
        """Return the time of the oldest unsettled event in flight, by route (seconds since 1970)."""
        return merge_oldest([self._local.oldest(), self._pool.oldest()])

    def backlog(self) -> dict[str, QueueBytes]:
        """Return the bytes of each queue's messages."""
        return merge_backlogs([self._local.backlog(), self._pool.backlog()])

    def drain(self, grace: float | None = None) -> None:
        """Take no more work; finish what has begun, within `grace` seconds if given. Idempotent."""
        self.draining = True
        self._local.drain(grace)
        self._pool.drain(grace)

    async def run(self) -> None:
        """Let the others begin, and wait for their end. The worker of this process MUST have ended.

        Raises as `WorkerPool.run`.
        """
        try:
            if not self.draining:
                self._pool.begin()
                await self._running
        finally:
            await _end(self._running)
