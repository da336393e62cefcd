"""Settings to a running service: the only module that names adapters. A new one is one branch here."""

from __future__ import annotations

import asyncio
import os
import random
import socket
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from skyferry.clock import SystemClock
from skyferry.config.routes import Routes
from skyferry.config.settings import Settings, StoreSettings
from skyferry.config.urls import LedgerUrl, QueueUrl, StoreUrl
from skyferry.engine.admission import Breaker, BreakerPolicy, MemoryBudget, RateLimiter
from skyferry.engine.chains import ChainPolicy
from skyferry.engine.copy import Copier
from skyferry.engine.digest import ThreadOffload
from skyferry.engine.guarded import GuardedStore, Guards
from skyferry.engine.parts import PartLimits
from skyferry.engine.redrive import RedriveQueue
from skyferry.engine.service import Assembly, Service, Source
from skyferry.engine.worker import Worker, WorkerPolicy
from skyferry.engine.world import World
from skyferry.errors import ConfigError
from skyferry.events.detect import Parsed, parse
from skyferry.events.native import encode
from skyferry.ledgers.memory import MemoryLedger
from skyferry.ledgers.sqlite import SqliteLedger
from skyferry.model import ObjectEvent, Transfer
from skyferry.ports import Clock, EventQueue, Ledger, ObjectStore, Observer, Outgoing
from skyferry.queues.memory import MemoryQueue
from skyferry.queues.sqlite import SqliteQueue
from skyferry.records import Record
from skyferry.retry import Backoff
from skyferry.status import Status
from skyferry.stores.local import LocalStore
from skyferry.stores.local_names import key_of, path_of
from skyferry.stores.memory import MemoryStore
from skyferry.stores.simulator import SimulatedStore
from skyferry.watch.look import Watched
from skyferry.watch.reconcile import Reconciler
from skyferry.watch.source import FolderSource


def owner() -> str:
    """This process's name in leases: unique, and for people to recognise."""
    return f"{socket.gethostname()[:40]}-{os.getpid()}-{uuid.uuid4().hex[:8]}"


def open_ledger(settings: Settings, clock: Clock | None = None, name: str | None = None) -> Ledger:
    """The configured ledger. Raises LedgerError."""
    clock, url = clock or SystemClock(), LedgerUrl.parse(settings.ledger.url)
    if url.on_disk:
        return SqliteLedger(url.path(settings.workspace), name or owner(), clock, settings.ledger.lease)
    return MemoryLedger(name or owner(), clock, settings.ledger.lease)


def open_queue(
    settings: Settings, queue: str | None = None, clock: Clock | None = None, name: str | None = None
) -> EventQueue:
    """The queue of that name, or the first. Raises QueueError, or ConfigError if there is no such queue."""
    clock = clock or SystemClock()
    for wanted in settings.queues:
        if queue in (None, wanted.name):
            url = QueueUrl.parse(wanted.url)
            if url.on_disk:
                path = url.path(settings.workspace)
                return SqliteQueue(path, wanted.name, name or owner(), clock, wanted.lease)
            return MemoryQueue(wanted.name, clock, wanted.lease)
    raise ConfigError(f"there is no queue {queue!r}", hint="see queues in the configuration")


def open_store(
    name: str, settings: StoreSettings, workspace: Path, clock: Clock, on_unreadable: Callable[[str], None]
) -> ObjectStore:
    """The adapter for a store. Raises StoreError."""
    url = StoreUrl.parse(settings.url)
    if not url.on_disk:
        return MemoryStore(name, clock)
    local = LocalStore(name, url.path(workspace), on_unreadable=on_unreadable)
    if url.scheme == "sim":
        return SimulatedStore(local, url.simulator(settings.simulator), clock)
    return local


class Reader:
    """Messages to transfers, by the configured routes."""

    def __init__(self, routes: Routes) -> None:
        self._routes = routes

    def parse(self, body: bytes, attributes: Mapping[str, str]) -> Parsed:
        return parse(body, attributes)

    def match(self, event: ObjectEvent) -> list[Transfer]:
        return self._routes.match(event)


@asynccontextmanager
async def build(
    settings: Settings, observer: Observer, sampled: Callable[[Status], None] = lambda status: None
) -> AsyncIterator[Service]:
    """A service, ready to run; closed at the end. Raises ConfigError, LedgerError, QueueError, StoreError."""
    clock, name, routes = SystemClock(), owner(), Routes(settings)
    used = {s for route in routes for s in (route.source_store, route.store)}
    breakers = {s: Breaker(_breaker_policy(settings), clock) for s in used}
    world = World(
        ledger=open_ledger(settings, clock, name),
        routes=routes.by_name,
        breakers=breakers,
        clock=clock,
        random=random.SystemRandom(),
        observer=observer,
    )
    guards = {s: _guards(settings, s, world) for s in used}
    stores = {
        s: GuardedStore(
            open_store(s, settings.stores[s], settings.workspace, clock, partial(_unreadable, observer, s)), guards[s]
        )
        for s in used
    }
    queues = [open_queue(settings, q.name, clock, name) for q in settings.queues]
    limits = settings.limits
    copier = Copier(
        stores,
        MemoryBudget(limits.memory),
        ThreadOffload(),
        clock,
        PartLimits(limits.part_size, limits.part_concurrency),
    )
    reader = Reader(routes)
    redrive = RedriveQueue(world.ledger, clock, settings.ledger.lease)
    worker = Worker(world, reader, copier, [*queues, redrive], _worker_policy(settings))
    service = Service(
        Assembly(
            world=world,
            worker=worker,
            reader=reader,
            queues=queues,
            stores=list(stores.values()),
            sources=_sources(settings, routes, world, stores, queues[0]),
            waiting=lambda: {s: g.requests.waiting + g.bytes.waiting for s, g in guards.items()},
            sampled=sampled,
            keep=settings.ledger.keep,
        )
    )
    try:
        yield service
    finally:
        await asyncio.shield(service.close())


def _sources(
    settings: Settings, routes: Routes, world: World, stores: Mapping[str, ObjectStore], queue: EventQueue
) -> Sequence[Source]:
    """A watcher for every local folder that is the source of a route."""

    async def send(events: list[ObjectEvent]) -> None:
        await queue.send([Outgoing(encode(e)) for e in events])

    sources = []
    for name in sorted({route.source_store for route in routes}):
        url = StoreUrl.parse(settings.stores[name].url)
        if url.on_disk and settings.stores[name].watch:
            provider, bucket = next(route for route in routes if route.source_store == name).source
            watched = Watched(url.path(settings.workspace), name, bucket, key_of, path_of)
            reconciler = Reconciler(stores[name], provider, bucket, routes, world.ledger, world.clock.time)
            sources.append(FolderSource(watched, reconciler, send, world.clock, world.observer))
    return sources


def _guards(settings: Settings, store: str, world: World) -> Guards:
    own, retry = settings.stores[store], settings.retry
    return Guards(
        breaker=world.breakers[store],
        requests=RateLimiter(own.requests_per_second, world.clock),
        bytes=RateLimiter(own.bytes_per_second, world.clock),
        clock=world.clock,
        observer=world.observer,
        random=world.random,
        timeout=settings.limits.request_timeout,
        tries=retry.request_tries,
        backoff=Backoff(retry.request_base, min(retry.cap, 5.0)),
    )


def _breaker_policy(settings: Settings) -> BreakerPolicy:
    b = settings.breaker
    return BreakerPolicy(b.failures, b.cooldown, b.max_cooldown, b.probes)


def _worker_policy(settings: Settings) -> WorkerPolicy:
    limits, retry = settings.limits, settings.retry
    chains = ChainPolicy(
        transfers=limits.transfers,
        large_transfers=limits.large_transfers,
        lost_leases=limits.lost_leases,
        backoff=Backoff(retry.base, retry.cap),
        batch=limits.batch,
    )
    return WorkerPolicy(limits.held_messages, limits.batch, settings.drain, chains)


def _unreadable(observer: Observer, store: str, name: str) -> None:
    observer.on(Record("watch.unreadable", store=store, key=name))
