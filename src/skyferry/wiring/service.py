"""Build a service."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

from skyferry import __version__
from skyferry.clock import SystemClock
from skyferry.config.settings import Settings
from skyferry.config.urls import QueueUrl
from skyferry.engine.abandoned_uploads import UploadCleaner
from skyferry.engine.consume.intake import EventReader
from skyferry.engine.consume.key_queues import ExecutorPolicy
from skyferry.engine.consume.worker import Worker, WorkerPolicy
from skyferry.engine.context import EngineContext
from skyferry.engine.copy.copier import Copier
from skyferry.engine.copy.digests import ThreadOffload
from skyferry.engine.copy.strategy import PartLimits
from skyferry.engine.dead_letters.intercept import InterceptingQueue
from skyferry.engine.dead_letters.lost_messages import LocalWork, LostMessageRecovery, find_patience
from skyferry.engine.dead_letters.outbox import Outbox
from skyferry.engine.dead_letters.redrive import RedriveQueue
from skyferry.engine.fleet.membership import FleetMembership
from skyferry.engine.fleet.roles import HousekeepingTask
from skyferry.engine.orphans import LocalTransfers, OrphanSettler
from skyferry.engine.queue_health import MonitoredQueue
from skyferry.engine.resilience.circuit_breaker import BreakerState
from skyferry.engine.resilience.health import Health
from skyferry.engine.resilience.memory_budget import MemoryBudget
from skyferry.engine.resilience.protection import Protection, protect_store
from skyferry.engine.resilience.shared.limits import FleetLimits
from skyferry.engine.service import IDLE_CHECK, Service, ServiceComponents, WorkLoop
from skyferry.errors import BucketNotFound, FolderMissing, SkyferryError
from skyferry.frozen import dataclass
from skyferry.ports import Clock, EventQueue, Heartbeat, Ledger, ObjectStore, Observer
from skyferry.queues.dead_letter_sink import QueueDeadLetters
from skyferry.queues.even_shares import EvenShares
from skyferry.retry import Backoff
from skyferry.routing.routes import Routes
from skyferry.status import Status, WorkerReport
from skyferry.stores.local.blocking.bucket import FolderIdentity
from skyferry.wiring.destinations import KnownDestination, known_destinations, probe_destinations
from skyferry.wiring.endpoints import identify_services, report_unsafe_servers
from skyferry.wiring.identities import (
    digest_queues,
    digest_routes,
    find_moved_stores,
    mark_stores,
    remember_stores,
)
from skyferry.wiring.opener import Opener
from skyferry.wiring.protection import (
    build_breakers,
    build_limits,
    build_protections,
    build_shared,
    find_most_transfers,
)
from skyferry.wiring.reports import SpecialReports, report_ledger, report_losses, report_refused, report_unreadable
from skyferry.wiring.residency import guard_regions
from skyferry.wiring.sources import FindSources, SourceContext

if TYPE_CHECKING:
    from skyferry.discovery.known_folder import KnownFolder

QUICK_CHECK = 0.005  # seconds between checks for idleness by a command, whose queue is in memory
FAR = 30.0  # seconds between requests for the depth of a queue at a provider, which may be billed
BUFFERS = 0.125  # of each byte in memory, for its buffers: about 1 MiB for a part of 8 (`bench/memory.py`)


class WorkerProcesses(WorkLoop, Protocol):
    """Other processes that do the work."""

    @property
    def reports(self) -> Sequence[WorkerReport]:
        """The last report of each."""


@asynccontextmanager
async def build_service(
    settings: Settings,
    observer: Observer,
    sampled: Callable[[Status], None] | None = None,
    *,
    find: FindSources | None = None,
    ledger: Ledger | None = None,
    queues: Sequence[EventQueue] = (),
    create: bool = False,
    pool: WorkerProcesses | None = None,
    helpers: int = 0,
    expected: Mapping[str, FolderIdentity] = MappingProxyType({}),
    on_wait: Callable[[SkyferryError], None] | None = None,
) -> AsyncIterator[Service]:
    """Build a service, and close it at the end. Raises ConfigError, LedgerError, QueueError, StoreError.

    `find` returns other sources of events than watched folders, for commands: provenance starts anew.
    `ledger` and `queues` replace the configured ones; `queues` are shared evenly by their owner. `create` makes
    destination folders that nothing is known of. With a `pool`, other processes do the work; each of them is one of `helpers`,
    has no sources, and leaves pruning and publishing to this one. No other folder takes the place
    of one that is `expected`, by store.
    With `on_wait`, a ledger whose server does not answer is waited for; it is called with each error.
    """
    base = await _open_foundation(
        settings, observer, ledger, expected, on_wait, command=find is not None, create=create
    )
    engine = await _protect_stores(base)
    received = queues or [base.opener.queue(q.name) for q in base.settings.queues]
    if not (find or helpers or ledger):
        await report_ledger(base.opener, base.ledger, observer)
        await report_unsafe_servers(base.opener, received, observer)
    monitored = [MonitoredQueue(queue, base.clock) for queue in received]
    shares = monitored if queues else [_share(queue, helpers, base) for queue in monitored]
    service = Service(_build_components(base, engine, monitored, shares, find, pool, sampled, helper=helpers > 0))
    report_losses(base.routes, engine.stores, observer)
    try:
        yield service
    finally:
        await asyncio.shield(_close(service, base.opener))


@dataclass(frozen=True, slots=True)
class _Foundation:
    """The parts of a service below its engine."""

    opener: Opener
    observer: Observer
    clock: Clock
    health: Health
    specials: SpecialReports
    ledger: Ledger
    routes: Routes
    shared: FleetLimits | None  # None for a command, which works for itself
    destinations: Mapping[str, KnownDestination]  # folders that have been written to, by store
    command: bool  # it has its own sources of events

    @property
    def settings(self) -> Settings:
        """The settings, with what services have said of themselves."""
        return self.opener.settings


async def _open_foundation(
    settings: Settings,
    observer: Observer,
    ledger: Ledger | None,
    expected: Mapping[str, FolderIdentity],
    on_wait: Callable[[SkyferryError], None] | None,
    *,
    command: bool,
    create: bool,
) -> _Foundation:
    """Open the ledger, and find out what the stores are. The arguments are those of `build_service`."""
    clock, specials = SystemClock(), SpecialReports(observer)
    health = Health(observer, clock)
    opener = Opener(
        settings,
        clock,
        on_unreadable=partial(report_unreadable, observer),
        on_special=specials.found,
        missing=BucketNotFound if command else FolderMissing,  # a command ends; a service waits
        folders=expected,
        on_refused=partial(report_refused, observer),
        on_health=health.record_use,
    )
    opener = await identify_services(opener, observer)
    settings = opener.settings
    memory = ledger or await _open_ledger(opener, health, on_wait)
    await remember_stores(memory, settings)
    routes = Routes(settings, {} if command else mark_stores(settings), await find_moved_stores(memory, settings))
    known = {} if command else await known_destinations(memory, settings, routes, create=create)
    opener = replace(opener, destinations=known)
    shared = None if command else build_shared(settings, memory, clock, observer)
    return _Foundation(opener, observer, clock, health, specials, memory, routes, shared, known, command)


@dataclass(frozen=True, slots=True)
class _Engine:
    """The context of the engine, and the stores as it uses them."""

    context: EngineContext
    protections: Mapping[str, Protection]  # by store
    stores: Mapping[str, ObjectStore]


async def _protect_stores(base: _Foundation) -> _Engine:
    settings, clock = base.settings, base.clock
    used = {s for route in base.routes for s in (route.source_store, route.store)}
    guarded = await guard_regions({s: base.opener.store(s) for s in used}, settings, clock, base.observer)
    context = EngineContext(
        ledger=base.ledger,
        routes={route.name: route for route in base.routes},
        breakers=build_breakers(settings, used, clock, base.shared),
        clock=clock,
        random=random.SystemRandom(),
        observer=base.observer,
        limits=build_limits(settings.limits, sorted(used), clock),
    )
    protections = build_protections(settings, context, base.shared)
    return _Engine(context, protections, {s: protect_store(guarded[s], protections[s]) for s in used})


def _build_components(
    base: _Foundation,
    engine: _Engine,
    monitored: Sequence[MonitoredQueue],
    shares: Sequence[EventQueue],
    find: FindSources | None,
    pool: WorkerProcesses | None,
    sampled: Callable[[Status], None] | None,
    *,
    helper: bool,
) -> ServiceComponents:
    """Build the worker, the sources of events and the housekeeping. `shares`: what this process receives from each queue."""
    settings, routes, clock, context = base.settings, base.routes, base.clock, engine.context
    reader = EventReader(routes)
    folders, find_sources = ({}, find) if find else _find_folders(settings, routes, base.ledger)
    copier = _build_copier(base, engine.stores, folders)
    own = Worker(context, reader, copier, _list_taken(shares, settings, context), _build_policy(settings))
    fleet = FleetMembership(base.ledger, clock, base.observer, alone=base.command)
    sources = SourceContext(settings, routes, context, engine.stores, monitored[0], fleet, folders, base.specials)
    protections = engine.protections
    local = LocalTransfers(routes.leads, own.has, engine.stores, copier.abort_uploads)
    housekeeping: list[HousekeepingTask] = [OrphanSettler(context, local)]
    if not (base.command or helper):
        housekeeping.append(_build_recovery(settings, context, routes, own, monitored, pool))
        housekeeping.append(UploadCleaner(base.ledger, engine.stores, clock))
    return ServiceComponents(
        context=context,
        fleet=fleet,
        worker=pool or own,
        reader=reader,
        queues=monitored,
        stores=list(engine.stores.values()),
        sources=() if helper else find_sources(sources),
        waiting=lambda: {s: p.limits.waiting if p.limits else 0 for s, p in protections.items()},
        sampled=sampled,
        retention=settings.ledger.retention,
        about=Heartbeat(
            host=socket.gethostname(),
            version=__version__,
            region=settings.region,
            age=0.0,
            routes=digest_routes(settings),
            queues=digest_queues(settings),
        ),
        outbox=_build_outbox(settings, base.opener, context),
        health=base.health,
        paces={q.name: FAR for q in settings.queues if QueueUrl.parse(q.url).at_a_cloud},
        probes=probe_destinations(base.destinations),
        overdue=lambda: {s: p.pending.overdue(clock.monotonic()) for s, p in protections.items()},
        housekeeping=housekeeping,
        idle_check=QUICK_CHECK if base.command else IDLE_CHECK,
        reports=(lambda: pool.reports) if pool else None,
        helper=helper,
        shared=base.shared,
    )


async def _open_ledger(opener: Opener, health: Health, on_wait: Callable[[SkyferryError], None] | None) -> Ledger:
    if on_wait is None:
        return await opener.ledger()

    def note_failure(error: SkyferryError) -> None:
        health.record_use("", error)
        on_wait(error)

    opened = await opener.wait_for_ledger(note_failure)
    health.record_use("", None)
    return opened


def _share(queue: EventQueue, helpers: int, base: _Foundation) -> EventQueue:
    """Let one of several processes take its share of a queue on this machine. Receives at a cloud are small anyway."""
    url = next(QueueUrl.parse(each.url) for each in base.settings.queues if each.name == queue.name)
    return EvenShares(queue, helpers, base.clock) if helpers and not url.at_a_cloud else queue


def _list_taken(shares: Sequence[EventQueue], settings: Settings, context: EngineContext) -> list[EventQueue]:
    """Return the queues that the worker receives from, with that of redriven dead letters."""
    redrive = RedriveQueue(context.ledger, context.clock, settings.ledger.lease)
    return [*(InterceptingQueue(queue, context.ledger, context.reporter) for queue in shares), redrive]


def _find_folders(settings: Settings, routes: Routes, ledger: Ledger) -> tuple[Mapping[str, KnownFolder], FindSources]:
    """Return the watched folders, by store, and the function that makes sources of them."""
    from skyferry.wiring.folders import find_folders, watch_folders  # only the service watches

    return find_folders(settings, routes, ledger), watch_folders


async def _close(service: Service, opener: Opener) -> None:
    try:
        await service.close()
    finally:
        await opener.close()


def _build_copier(base: _Foundation, stores: Mapping[str, ObjectStore], folders: Mapping[str, KnownFolder]) -> Copier:
    async def same(store: str, key: str) -> bool:
        try:
            return store not in folders or await folders[store].is_same(key)
        except SkyferryError:  # unknown: it is checked again
            return False

    limits = base.settings.limits
    parts = PartLimits(limits.part_size, limits.part_concurrency, streamed=limits.multipart_threshold)
    pairs = {(route.source_store, route.store) for route in base.routes.by_name.values()}
    budget = MemoryBudget(limits.memory, BUFFERS, len(pairs))
    return Copier(stores, budget, ThreadOffload(), base.clock, parts, same)


def _build_outbox(settings: Settings, opener: Opener, context: EngineContext) -> Outbox | None:
    queue, retry = opener.dead_letters(), settings.retry
    return Outbox(context, QueueDeadLetters(queue), Backoff(retry.initial_delay, retry.max_delay)) if queue else None


def _build_recovery(
    settings: Settings,
    context: EngineContext,
    routes: Routes,
    own: Worker,
    queues: Sequence[MonitoredQueue],
    pool: WorkerProcesses | None,
) -> LostMessageRecovery:
    def list_blocked() -> list[str]:
        """Return the stores that are down. A breaker stays open while no work asks for a trial: that does not count."""
        here = [
            store
            for store, each in context.breakers.items()
            if each.state is not BreakerState.CLOSED and each.time_left
        ]
        others = [report.breakers for report in pool.reports if not report.idle] if pool else []
        return [*here, *(store for states in others for store, state in states.items() if state != BreakerState.CLOSED)]

    local = LocalWork(
        routes=routes.by_name,
        has_route=routes.leads,
        find_known=own.find_known,
        blocked=list_blocked,
        queue_down=lambda: any(queue.check.state == "down" for queue in queues),
        queue=queues[0].name if len(queues) == 1 else "",
    )
    return LostMessageRecovery(context, local, find_patience([queue.lease for queue in settings.queues]))


def _build_policy(settings: Settings) -> WorkerPolicy:
    limits, retry = settings.limits, settings.retry
    executor = ExecutorPolicy(
        transfers=find_most_transfers(limits),
        large_transfers=limits.large_transfers,
        lost_leases=limits.lost_leases,
        backoff=Backoff(retry.initial_delay, retry.max_delay),
        batch=limits.batch,
    )
    unknown = {queue.name: queue.unknown_buckets for queue in settings.queues}
    own = all(QueueUrl.parse(queue.url).known.shared_by == "process" for queue in settings.queues)  # a receive is free
    return WorkerPolicy(
        queues=len(settings.queues),
        held_messages=limits.max_in_flight_messages,
        waiting_messages=limits.waiting_messages,
        waiting_memory=limits.waiting_memory,
        batch=limits.batch,
        drain=settings.drain,
        poll=0.05 if own else 1.0,
        in_memory=own,
        executor=executor,
        unknown_buckets=unknown,
    )
