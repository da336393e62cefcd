"""The whole of it, running: the worker, the sources of local events, the housekeeping; and what the outside may ask."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

from skyferry import __version__
from skyferry.engine.consume.intake import Reader
from skyferry.engine.consume.worker import Worker
from skyferry.engine.context import EngineContext
from skyferry.engine.dead_letters.outbox import Outbox
from skyferry.engine.orphans import Leftovers
from skyferry.engine.queue_health import NOT_YET, HeardQueue
from skyferry.engine.resilience.health import Health
from skyferry.engine.resilience.monitor import Changes, Monitor, Probe
from skyferry.engine.submission import take
from skyferry.errors import LedgerError, QueueError
from skyferry.ports import ObjectStore, Outgoing
from skyferry.records import Record
from skyferry.status import Condition, HealthCheck, Readiness, Status, Submission, describe_unrouted

SAMPLE = 1.0  # seconds between samples of what is known, for the metrics
OVERDUE = 10.0  # seconds behind its time after which a request to a store is a sign that the store stands still
PRUNE = 3600.0  # seconds between prunings
LOOK = 0.1  # seconds between looks whether it is idle
UNTOLD = 5.0  # seconds without a message after which a queue that tells no depth counts as empty


class Source(Protocol):
    """Something in this process that finds events, such as a watched folder."""

    @property
    def idle(self) -> bool:
        """Everything found so far has been sent."""

    async def run(self) -> None:
        """Until cancelled."""


@dataclass(frozen=True, slots=True)
class Assembly:
    """What wiring puts together."""

    context: EngineContext
    worker: Worker
    reader: Reader
    queues: Sequence[HeardQueue]  # the first takes submitted events
    stores: Sequence[ObjectStore]
    sources: Sequence[Source]
    waiting: Callable[[], dict[str, int]]  # requests waiting for their rate limit, by store
    sampled: Callable[[Status], None]
    keep: float  # seconds that settled transfers are remembered
    outbox: Outbox | None = None  # sends dead letters on
    health: Health | None = None  # hears of errors that no request of `ready` need meet
    paces: Mapping[str, float] = field(default_factory=dict)  # seconds between questions for the depth, by queue
    overdue: Callable[[], Mapping[str, float]] = dict  # seconds that the slowest request is behind, by store
    probes: Sequence[Probe] = ()  # of what else /ready is to name
    leftovers: Leftovers | None = None  # ends what waits for routes that are gone


class Service:
    """One process of Skyferry."""

    def __init__(self, assembly: Assembly) -> None:
        self._a = assembly
        self.ledger = assembly.context.ledger
        self._started_at = assembly.context.clock.time()
        self._patience = 2 * LOOK  # seconds that it must be idle to count as finished
        self._monitor = Monitor(self.ledger, assembly.context.clock, assembly.queues, assembly.paces, assembly.probes)
        self._changes = Changes(assembly.context.observer)
        self._working = False

    async def run(self, until_idle: bool = False) -> None:
        """Work until `drain`, or until there is nothing left to do."""
        tell = self._a.context.observer.on
        tell(Record("service.started"))
        self._working = True
        async with asyncio.TaskGroup() as tasks:
            helpers = [tasks.create_task(source.run(), name="source") for source in self._a.sources]
            helpers.append(tasks.create_task(self._monitor.run(), name="monitor"))
            helpers.append(tasks.create_task(self._sample(), name="sample"))
            helpers.append(tasks.create_task(self._prune(), name="prune"))
            if self._a.leftovers:
                helpers.append(tasks.create_task(self._a.leftovers.run(), name="leftovers"))
            if self._a.outbox:
                helpers.append(tasks.create_task(self._a.outbox.run(), name="outbox"))
            if until_idle:
                helpers.append(tasks.create_task(self._drain_when_idle(), name="until idle"))
            await asyncio.wait([tasks.create_task(self._a.worker.run(), name="worker")])
            for task in helpers:
                task.cancel()
        tell(Record("service.stopped"))

    def drain(self) -> None:
        """Take no more work and end. Idempotent."""
        if not self._a.worker.draining:
            self._a.context.observer.on(Record("service.draining"))
        self._a.worker.drain()

    async def close(self) -> None:
        """Free everything: leases, files, connections."""
        for queue in self._a.queues:
            await queue.close()
        if self._a.outbox:
            await self._a.outbox.close()
        await self.ledger.close()
        for store in self._a.stores:
            await store.close()

    async def submit(self, bodies: Sequence[bytes]) -> list[Submission]:
        """Take native events into the first queue, durably. Raises EventError for the first that is none; then none is taken."""
        return await take(self._a.reader, self._a.queues[0], bodies)

    async def accept(self, queue: str, messages: Sequence[Outgoing]) -> None:
        """Take messages of a provider as they are into that queue ("" = the first), durably: the worker reads them.

        Raises QueueError, also if there is no such queue: then the provider sends it again once there is.
        """
        found = next((each for each in self._a.queues if queue in ("", each.name)), None)
        if found is None:
            raise QueueError(f"there is no queue {queue!r}", hint="see queues in the configuration")
        await found.send(messages)

    async def ready(self) -> Readiness:
        """The condition of each part, from what is known: nothing is asked for it."""
        return Readiness(tuple(self._checks()))

    async def status(self) -> Status:
        """How it stands; what cannot be asked is left out."""
        await self._monitor.look()
        return self._status()

    def _status(self) -> Status:
        facts, clock, known = self._monitor.facts, self._a.context.clock, {}
        now = clock.monotonic()
        for queue in self._a.queues:
            if (depth := queue.heard.depth) is not None:
                known[queue.name] = depth
        return Status(
            version=__version__,
            started_at=self._started_at,
            state="draining" if self._a.worker.draining else "running",
            in_flight=self._a.worker.in_flight,
            queues=known,
            transfers=facts.transfers or {},
            dead_letters=facts.letters,
            breakers={name: str(breaker.state) for name, breaker in self._a.context.breakers.items()},
            routes=tuple(self._a.context.routes),
            unrouted=facts.unrouted,
            held_deletes=facts.held,
            limiter_waiting=self._a.waiting(),
            receives={queue.name: now - (queue.heard.answered or queue.heard.since) for queue in self._a.queues},
            oldest=self._oldest(),
            checks=tuple(self._checks()),
        )

    def _oldest(self) -> Mapping[str, float] | None:
        """By route, the seconds since its oldest event that is not settled: in hand, or in the ledger."""
        if (told := self._monitor.facts.oldest) is None:
            return None
        now, ages = self._a.context.clock.time(), dict.fromkeys(self._a.context.routes, 0.0)
        for known in (told, self._a.worker.oldest()):
            ages.update({route: max(ages.get(route, 0.0), now - at) for route, at in known.items()})
        return ages

    def _checks(self) -> Iterator[HealthCheck]:
        yield HealthCheck("worker", "worker", *self._worker_state())
        yield from (self._a.health.seen(check) if self._a.health else check for check in self._monitor.checks())
        overdue = self._a.overdue()
        for store, breaker in self._a.context.breakers.items():
            late = overdue.get(store, 0.0)
            if breaker.state == "open":
                yield HealthCheck("store", store, "down", "its circuit breaker is open: work for it waits")
            elif late > OVERDUE:
                yield HealthCheck(
                    "store", store, "down", f"a request has been without an answer for {late:.0f} s too long"
                )
            else:
                yield HealthCheck("store", store, "ok")

        if buckets := self._monitor.facts.unrouted:
            told = "; ".join(describe_unrouted(bucket, count) for bucket, count in buckets.items())
            yield HealthCheck("work", "unrouted_bucket", "degraded", told)
        if held := self._monitor.facts.held:
            told = "; ".join(f"{count:,} deletes of {store} are held" for store, count in held.items())
            yield HealthCheck("work", "held_deletes", "degraded", f"{told}: skyferry deletes list")

    def _worker_state(self) -> tuple[Condition, str]:
        if self._a.worker.draining:
            return "down", "it is draining"
        return ("ok", "") if self._working else ("down", NOT_YET)

    async def _sample(self) -> None:
        while True:
            self._changes.tell(list(self._checks()))
            self._a.sampled(self._status())
            await self._a.context.clock.sleep(SAMPLE)

    async def _prune(self) -> None:
        clock = self._a.context.clock
        while True:
            with suppress(LedgerError):  # the next round does it
                while await self.ledger.prune(clock.time() - self._a.keep):
                    await clock.sleep(0.1)  # others want to write too
            await clock.sleep(PRUNE)

    async def _drain_when_idle(self) -> None:
        """Looks again, because a message may be between two places, or still on its way from a queue that tells no depth.

        Raises LedgerDamaged or QueueDamaged: nobody waits for what will never be done.
        """
        quiet = 0.0
        while quiet < self._patience:
            await self._a.context.clock.sleep(LOOK)
            if self._a.health and (damage := self._a.health.damage()):
                raise damage
            quiet = quiet + LOOK if await self._is_idle() else 0.0
        if self._a.outbox:
            await self._a.outbox.flush()
        self.drain()

    async def _is_idle(self) -> bool:
        if not self._a.worker.idle or not all(source.idle for source in self._a.sources):
            return False
        try:
            depths = [await queue.depth() for queue in self._a.queues]
            if await self.ledger.redriven():
                return False
        except (QueueError, LedgerError):
            return False
        self._patience = UNTOLD if any(depth.ready < 0 for depth in depths) else 2 * LOOK
        return not any(max(d.ready, 0) + max(d.leased, 0) + max(d.delayed, 0) for d in depths)
