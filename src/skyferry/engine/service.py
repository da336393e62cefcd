"""The running service: the worker, local event sources and housekeeping, and the queries of the API."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import field, replace
from functools import partial
from typing import Protocol

from skyferry import __version__
from skyferry.engine.consume.intake import EventReader
from skyferry.engine.context import EngineContext
from skyferry.engine.dead_letters.outbox import Outbox
from skyferry.engine.fleet.membership import FleetMembership
from skyferry.engine.fleet.roles import DEAD_LETTERS, GAUGES, HOUSEKEEPING, QUEUES, HousekeepingTask, find_held
from skyferry.engine.fleet.sources import EventSource
from skyferry.engine.queue_health import NOT_YET, MonitoredQueue, OutageWatch, read_depths
from skyferry.engine.resilience.health import Health
from skyferry.engine.resilience.monitor import CheckReporter, Monitor, Probe
from skyferry.engine.resilience.shared.limits import FleetLimits
from skyferry.engine.submission import submit_events
from skyferry.errors import LedgerError, QueueError
from skyferry.frozen import dataclass
from skyferry.ports import Heartbeat, ObjectStore, Outgoing, WorkerState
from skyferry.ports.ledger.workers import MOST_KEYS
from skyferry.records import Record
from skyferry.status import (
    Condition,
    HealthCheck,
    QueueBytes,
    Readiness,
    Status,
    Submission,
    WorkerReport,
    describe_unrouted,
    merge_breakers,
    merge_checks,
    sum_counts,
)

SAMPLE = 1.0  # seconds between looks at the checks and limits while there is work, and for a live view
CALM = 5.0  # the same while there is none: a request for the checks looks at them anew
OVERDUE = 10.0  # seconds beyond its timeout after which a request means that its store is down
PRUNE = 3600.0  # seconds between prunes of the ledger
IDLE_CHECK = 0.1  # seconds between checks for idleness
LONGEST_KEY = 200  # characters of a key in a heartbeat
UNKNOWN_DEPTH = 5.0  # seconds without a message after which a queue that reports no depth counts as empty


class WorkLoop(Protocol):
    """Does the work of a service: a `Worker`, or several in other processes. See `Worker`."""

    @property
    def in_flight(self) -> int: ...

    @property
    def arrivals(self) -> int: ...

    @property
    def idle(self) -> bool: ...

    @property
    def draining(self) -> bool: ...

    def list_claimed(self) -> list[tuple[str, str]]: ...

    def oldest(self) -> dict[str, float]: ...

    def backlog(self) -> dict[str, QueueBytes]: ...

    def drain(self, grace: float | None = None) -> None: ...

    async def run(self) -> None: ...


@dataclass(frozen=True, slots=True)
class ServiceComponents:
    """The parts of a service, as wiring builds them."""

    context: EngineContext
    fleet: FleetMembership
    worker: WorkLoop
    reader: EventReader
    queues: Sequence[MonitoredQueue]  # the first takes submitted events
    stores: Sequence[ObjectStore]
    sources: Sequence[EventSource]
    waiting: Callable[[], dict[str, int]]  # requests that wait for their rate limit, by store
    retention: float  # seconds for which settled transfers stay in the ledger
    about: Heartbeat  # the part of this worker's heartbeats that does not change
    outbox: Outbox | None = None  # publishes dead letters
    health: Health | None = None  # knows errors that a query of the condition need not meet
    paces: Mapping[str, float] = field(default_factory=dict)  # seconds between requests for the depth, by queue
    overdue: Callable[[], Mapping[str, float]] = dict  # seconds by which the slowest request is late, by store
    probes: Sequence[Probe] = ()  # of other conditions that /ready includes
    housekeeping: Sequence[HousekeepingTask] = ()
    sampled: Callable[[Status], None] | None = None  # gets the last known status every second
    idle_check: float = IDLE_CHECK  # seconds between checks for idleness
    reports: Callable[[], Sequence[WorkerReport]] | None = None  # of the processes that do the work, if others do
    helper: bool = False  # another process watches, prunes and publishes
    shared: FleetLimits | None = None  # limits that the workers of the ledger share


class Service:
    """One process of Skyferry."""

    def __init__(self, components: ServiceComponents) -> None:
        self._components, self._context = components, components.context
        self.worker = components.worker  # a replacement, which speaks for both, runs once this one has drained
        self.ledger, self._fleet = self._context.ledger, components.fleet
        self._started_at, self._began = self._context.clock.time(), self._context.clock.monotonic()
        if not components.helper:
            self._housekeeping = self._fleet.add_role(HOUSEKEEPING)
            self._gauges = self._fleet.add_role(GAUGES)
            self._depths = self._fleet.add_role(f"{QUEUES}@{components.about.queues}")  # of those with the same queues
            self._publishing = self._fleet.add_role(DEAD_LETTERS) if components.outbox else None
        self._patience = 2 * components.idle_check  # seconds of idleness after which the work is finished
        self._monitor = Monitor(
            self.ledger,
            self._context.clock,
            components.queues,
            components.paces,
            components.probes,
            lambda: (self.worker.arrivals, self.worker.in_flight),
        )
        self._check_reporter = CheckReporter(self._context.observer, components.health)
        self._working = False

    async def run(self, until_idle: bool = False) -> None:
        """Work until `drain` is called or, with `until_idle`, until no work is left.

        In the second case, raise the failure of a source whose events cannot be found.
        """
        observe = self._context.observer.on
        loop = type(asyncio.get_running_loop()).__module__.partition(".")[0]
        observe(Record("service.started", message=f"event loop: {loop}"))
        self._working = True
        if until_idle:
            self._fleet.waive_sources()
        async with asyncio.TaskGroup() as tasks:
            helpers = [] if self._components.helper else self._start_housekeeping(tasks, until_idle)
            helpers.append(tasks.create_task(self._fleet.run(self._describe), name="fleet"))
            if shared := self._components.shared:
                helpers.append(tasks.create_task(shared.run(), name="shared limits"))
            await asyncio.wait([tasks.create_task(self._run_workers(), name="worker")])
            for task in helpers:
                task.cancel()
        observe(Record("service.stopped"))
        if until_idle and (failure := next((s.failure for s in self._components.sources if s.failure), None)):
            raise failure

    async def _run_workers(self) -> None:
        ended = None
        while ended is not self.worker:
            ended = self.worker
            await ended.run()

    def _start_housekeeping(self, tasks: asyncio.TaskGroup, until_idle: bool) -> list[asyncio.Task[None]]:
        """Start what one process does for all."""
        helpers = [tasks.create_task(source.run(), name="source") for source in self._components.sources]
        helpers.append(tasks.create_task(self._monitor.run(), name="monitor"))
        helpers.append(tasks.create_task(self._sample(), name="sample"))
        helpers.append(tasks.create_task(self._housekeeping.run(self._keep_house), name="housekeeping"))
        if (outbox := self._components.outbox) and (role := self._publishing):
            helpers.append(tasks.create_task(role.run(partial(outbox.run, role.confirm)), name="outbox"))
        if until_idle:
            helpers.append(tasks.create_task(self._drain_when_idle(), name="until idle"))
        return helpers

    def drain(self, grace: float | None = None) -> None:
        """Stop taking work, and end. Idempotent. `grace` replaces the configured seconds for transfers in flight."""
        if not self.worker.draining:
            self._context.observer.on(Record("service.draining"))
        self.worker.drain(grace)
        self._fleet.drain()

    async def close(self) -> None:
        """Release leases, and close files and connections."""
        async with AsyncExitStack() as closing:  # it closes the last first, and all of them, even if one fails
            for store in self._components.stores:
                closing.push_async_callback(store.close)
            closing.push_async_callback(self.ledger.close)
            if self._components.outbox:
                closing.push_async_callback(self._components.outbox.close)
            for queue in self._components.queues:
                closing.push_async_callback(queue.close)

    async def submit(self, bodies: Sequence[bytes]) -> list[Submission]:
        """Send native events to the first queue, durably. Raises EventError for the first invalid one; then none is sent."""
        return await submit_events(self._components.reader, self._components.queues[0], bodies)

    async def accept(self, queue: str, messages: Sequence[Outgoing]) -> None:
        """Send a provider's messages unchanged to the named queue ("" = the first), durably; the worker parses them.

        Raises QueueError, also for an unknown queue: the provider then sends the messages again.
        """
        found = next((each for each in self._components.queues if queue in ("", each.name)), None)
        if found is None:
            raise QueueError(f"queue {queue!r} is not configured", hint="Add it to `queues`, or correct the URL.")
        await found.send(messages)

    async def ready(self) -> Readiness:
        """Return the last known condition of each part, without a request."""
        return Readiness(tuple(self._checks()))

    async def status(self) -> Status:
        """Return a current snapshot, without the parts that do not answer."""
        await self._monitor.refresh()
        return self.last_status()

    @property
    def idle(self) -> bool:
        """True if nothing is in flight."""
        return self.worker.idle

    def report(self) -> WorkerReport:
        """Return the state of this process for the one that shows the whole."""
        now = self._context.clock.monotonic()
        return WorkerReport(
            in_flight=self.worker.in_flight,
            arrivals=self.worker.arrivals,
            idle=self.worker.idle,
            oldest=self.worker.oldest(),
            breakers={name: str(breaker.state) for name, breaker in self._context.breakers.items()},
            limiter_waiting=self._components.waiting(),
            concurrency={store: limit.describe(now) for store, limit in self._context.limits.items()},
            checks=(*self._store_checks(), *(queue.check for queue in self._components.queues)),
            backlog=self.worker.backlog(),
        )

    def _describe(self) -> Heartbeat:
        claimed = self.worker.list_claimed()
        keys = [(store, key.encode("utf-8", "replace").decode()[:LONGEST_KEY]) for store, key in claimed[:MOST_KEYS]]
        return replace(
            self._components.about,
            age=self._context.clock.monotonic() - self._began,
            state=WorkerState.DRAINING if self.worker.draining else WorkerState.RUNNING,
            holds=len(claimed),
            keys=tuple(keys),
        )

    def _reports(self) -> Sequence[WorkerReport]:
        return self._components.reports() if self._components.reports else ()

    def last_status(self) -> Status:
        """Return a snapshot of what is known, without a request."""
        facts, clock = self._monitor.facts, self._context.clock
        now, own, reports = clock.monotonic(), self.report(), self._reports()
        return Status(
            version=__version__,
            started_at=self._started_at,
            state="draining" if self.worker.draining else "running",
            in_flight=self.worker.in_flight,
            queues={q.name: q.health.depth for q in self._components.queues if q.health.depth is not None},
            transfers=facts.transfers or {},
            dead_letters=facts.letters,
            breakers=merge_breakers([own.breakers, *(report.breakers for report in reports)]),
            routes=tuple(self._context.routes),
            unrouted=facts.unrouted,
            held_deletes=facts.held,
            limiter_waiting=sum_counts([own.limiter_waiting, *(report.limiter_waiting for report in reports)]),
            concurrency=self._sum_limits(),
            receives={q.name: now - (q.health.answered or q.health.since) for q in self._components.queues},
            oldest=self._oldest(),
            checks=tuple(self._checks()),
            backlog=own.backlog,
            workers=facts.workers,
            roles=find_held(self._fleet.roles),
            exports_ledger=not self._components.helper and self._gauges.is_held,
            exports_queues=not self._components.helper and self._depths.is_held,
            own_oldest=self._find_ages(self.worker.oldest()),
            digests=(self._components.about.routes, self._components.about.queues),
        )

    def _oldest(self) -> Mapping[str, float] | None:
        """Return the seconds since each route's oldest unsettled event, in flight or in the ledger; None if unknown."""
        if (recorded := self._monitor.facts.oldest) is None:
            return None
        ages = dict.fromkeys(self._context.routes, 0.0)
        for known in (recorded, self.worker.oldest()):
            ages.update({route: max(ages.get(route, 0.0), age) for route, age in self._find_ages(known).items()})
        return ages

    def _find_ages(self, times: Mapping[str, float]) -> dict[str, float]:
        now = self._context.clock.time()
        return {route: now - at for route, at in times.items()}

    def _checks(self) -> Iterator[HealthCheck]:
        reports = self._reports()
        for queue in self._components.queues:
            queue.note_reports(
                [c for report in reports for c in report.checks if (c.part, c.name) == ("queue", queue.name)]
            )
        yield HealthCheck("worker", "worker", *self._worker_state())
        yield from (
            self._components.health.amend_check(check) if self._components.health else check
            for check in self._monitor.checks()
        )
        yield from merge_checks([*self._store_checks(), *(c for r in reports for c in r.checks if c.part == "store")])
        if buckets := self._monitor.facts.unrouted:
            message = "; ".join(describe_unrouted(bucket, count) for bucket, count in buckets.items())
            yield HealthCheck("work", "unrouted_bucket", "degraded", message)
        if (shared := self._components.shared) and shared.alone:
            yield HealthCheck(
                "work", "shared_limits", "degraded", f"the limits are this worker's own: {shared.problem}"
            )
        if held := self._monitor.facts.held:
            counts = "; ".join(f"{count:,} deletes of {store} are held" for store, count in held.items())
            yield HealthCheck("work", "held_deletes", "degraded", f"{counts}: skyferry deletes list")

    def _store_checks(self) -> Iterator[HealthCheck]:
        overdue = self._components.overdue()
        for store, breaker in self._context.breakers.items():
            late = overdue.get(store, 0.0)
            if breaker.state == "open":
                yield HealthCheck("store", store, "down", "its circuit breaker is open: its work waits")
            elif late > OVERDUE:
                yield HealthCheck("store", store, "down", f"a request is overdue by {late:.0f} s")
            elif folders := breaker.throttled:
                yield HealthCheck("store", store, "degraded", f"it throttles: the objects of {folders:,} folders wait")
            else:
                yield HealthCheck("store", store, "ok")

    def _worker_state(self) -> tuple[Condition, str]:
        if self.worker.draining:
            return "down", "the worker is draining"
        if self._components.reports and not self._reports():
            return "down", "none of its processes runs"
        return ("ok", "") if self._working else ("down", NOT_YET)

    async def _sample(self) -> None:
        while True:
            self._check_reporter.report(list(self._checks()))
            self._check_reporter.report_limits(self._sum_limits())
            if sampled := self._components.sampled:
                sampled(self.last_status())
            await self._context.clock.sleep(SAMPLE if sampled or not self.worker.idle else CALM)

    def _sum_limits(self) -> dict[str, int]:
        return sum_counts([report.concurrency for report in self._reports() or [self.report()]])

    async def _keep_house(self) -> None:
        """Prune the ledger, and do the other work of this role."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._prune(), name="prune")
            for each in self._components.housekeeping:
                tasks.create_task(each.run(self._housekeeping.confirm), name=each.name)

    async def _prune(self) -> None:
        clock = self._context.clock
        while True:
            await self._housekeeping.confirm()
            with suppress(LedgerError):  # the next round continues
                while await self.ledger.prune(self._components.retention):
                    await clock.sleep(0.1)  # let others write
                    await self._housekeeping.confirm()
            await clock.sleep(PRUNE)

    async def _drain_when_idle(self) -> None:
        """Drain after some time of idleness: a message may be in transit, or come late from a queue that reports no depth.

        Raises an error of the ledger or a queue that no waiting heals, because that work can never finish, or as `OutageWatch`.
        """
        quiet, check = 0.0, self._components.idle_check
        stores = {name: route.store for name, route in self._context.routes.items()}
        watch = OutageWatch(self._components.queues, self._context.clock, self._monitor.checks, stores)
        await read_depths(self._components.queues)
        while quiet < self._patience:
            await self._context.clock.sleep(watch.choose_pause(check, busy=not self.worker.idle))
            if self._components.health and (failure := self._components.health.find_lasting_error()):
                raise failure
            watch.check()
            watch.check_folders(self._monitor.facts.settled, self.worker.in_flight, self.worker.oldest)
            quiet = quiet + check if await self._is_idle() else 0.0
        if self._components.outbox:
            await self._components.outbox.flush()
        self.drain()

    async def _is_idle(self) -> bool:
        if not self.worker.idle or not all(source.idle for source in self._components.sources):
            return False
        depths = await read_depths(self._components.queues)
        if depths is None or any(max(d.ready, 0) + max(d.leased, 0) + max(d.delayed, 0) for d in depths):
            return False
        try:
            if await self.ledger.count_redriven():
                return False
        except LedgerError:
            return False
        unknown = any(depth.ready < 0 for depth in depths)
        self._patience = UNKNOWN_DEPTH if unknown else 2 * self._components.idle_check
        return True
