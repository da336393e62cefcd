"""Opens what the URLs of the configuration name, by the rows of their schemes."""

from __future__ import annotations

import os
import random
import socket
import uuid
from collections.abc import Callable, Mapping
from dataclasses import field, replace
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from skyferry.clock import SystemClock
from skyferry.clouds.identity.extras import require_extra
from skyferry.clouds.regions import region_of
from skyferry.config.schemes import StoreScheme
from skyferry.config.settings import QueueAddress, Settings
from skyferry.config.urls import QueueUrl, resolve_ledger, resolve_queue, resolve_store
from skyferry.errors import BucketNotFound, ConfigError, SkyferryError
from skyferry.frozen import dataclass
from skyferry.ports import Clock, DurableQueue, EventQueue, Ledger, ObjectStore
from skyferry.ports.ledger import LedgerMaintenance
from skyferry.ports.opening import LedgerContext, QueueContext, StoreContext
from skyferry.retry import Backoff
from skyferry.stores.local.blocking.bucket import ExpectedFolder, FolderIdentity
from skyferry.wiring.credentials import Identities
from skyferry.wiring.destinations import KnownDestination
from skyferry.wiring.protection import find_connections

if TYPE_CHECKING:
    from skyferry.clouds.identity.build import IdentityContext

R = TypeVar("R")
T = TypeVar("T")
LEDGER_RETRY = Backoff(1.0, 15.0)  # while a ledger at a server cannot be opened


def name_owner() -> str:
    """Return a unique, readable name of this process for leases."""
    return f"{socket.gethostname()[:40]}-{os.getpid()}-{uuid.uuid4().hex[:8]}"


@dataclass(frozen=True, slots=True)
class Opener:
    """Opens adapters for one process. The caller closes each, then this."""

    settings: Settings
    clock: Clock = field(default_factory=SystemClock)
    owner: str = field(default_factory=name_owner)
    env: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)
    # called with the store and path of what a listing leaves out, and why
    on_unreadable: Callable[[str, str, SkyferryError], None] = lambda store, path, error: None
    # called with the store, path and kind of what is neither a file nor a folder
    on_special: Callable[[str, str, str], None] = lambda store, path, kind: None
    missing: type[BucketNotFound] = BucketNotFound  # raised by local stores whose folder does not exist
    folders: Mapping[str, FolderIdentity] = field(default_factory=dict)  # of stores whose folder no other replaces
    destinations: Mapping[str, KnownDestination] = field(default_factory=dict)  # those that the ledger knows, by store
    on_refused: Callable[[str, SkyferryError], None] = lambda name, error: None  # called with errors of credentials
    on_health: Callable[[str, SkyferryError | None], None] = lambda queue, error: None  # see `Health.record_use`
    identities: Identities = field(default_factory=Identities)

    async def ledger(self, *, reads: bool = False) -> Ledger:
        """Open the ledger; with `reads`, for reading only. Raises LedgerError, or ConfigError if its extra is missing."""
        context = replace(self._ledger_context(), reads=reads)
        with require_extra(context.url.known.extra, f"{context.url.scheme}://"):
            ledger: Ledger = await context.url.known.opens(context)
        return ledger

    async def wait_for_ledger(self, on_failure: Callable[[SkyferryError], None]) -> Ledger:
        """Open the ledger, and try again as long as its server does not answer. Raises what no waiting heals, as `ledger`.

        `on_failure` is called with the error before each pause.
        """
        attempt = 0
        while True:
            try:
                return await self.ledger()
            except SkyferryError as error:
                if not error.transient:
                    raise
                on_failure(error)
            attempt += 1
            await self.clock.sleep(LEDGER_RETRY.delay(attempt, random.SystemRandom().uniform(0.5, 1.0)))

    def ledger_maintenance(self) -> LedgerMaintenance | None:
        """Return the maintenance of the ledger; None for a ledger in memory. Raises ConfigError if its extra is missing."""
        context = self._ledger_context()
        maintains = context.url.known.maintains
        with require_extra(context.url.known.extra, f"{context.url.scheme}://"):
            return maintains(context) if maintains else None

    def durable_queue(self, wanted: QueueAddress) -> DurableQueue | None:
        """Return the queue as something to look at from outside; None if Skyferry does not store it."""
        context = self._queue_context(wanted)
        maintains = context.where.url.known.maintains
        return maintains(context) if maintains else None

    def queue(self, name: str | None = None) -> EventQueue:
        """Open the queue of that name, or the first. Raises QueueError, or ConfigError if there is no such queue."""
        for wanted in self.settings.queues:
            if name in (None, wanted.name):
                return self._queue(wanted)
        raise ConfigError(f"there is no queue {name!r}", hint="Name a queue of `queues`.")

    def dead_letters(self, *, read: bool = False) -> EventQueue | None:
        """Open the queue of dead letters, if configured. Raises as `queue`; ConfigError if it cannot be `read`."""
        if (wanted := self.settings.dead_letters) is None:
            return None
        url = QueueUrl.parse(wanted.url)
        if read and url.known.unreadable and not url.account:
            raise ConfigError(
                "it has no subscription to read dead letters from", where=wanted.name, hint=url.known.unreadable
            )
        return self._queue(wanted)

    def store(self, name: str) -> ObjectStore:
        """Open the store of that name. Raises StoreError, or ConfigError if its extra is missing."""
        context, row = self.store_context(name), self.store_scheme(name)
        with require_extra(row.extra, f"{context.where.url.scheme}://"):
            store: ObjectStore = row.opens(context)
        return store

    def store_scheme(self, name: str) -> StoreScheme:
        """Return the row of the URL scheme of a store. Raises ConfigError."""
        return _resolved(name, resolve_store, self.settings.stores[name]).url.known

    def store_context(self, name: str) -> StoreContext:
        """Return what the adapter of a store is opened from. Raises ConfigError."""
        where = _resolved(name, resolve_store, self.settings.stores[name])
        known = self.destinations.get(name)
        return StoreContext(
            name,
            where,
            self.settings.workspace,
            self.clock,
            credentials=self.identities.credentials(where, partial(self._around, name)),
            region=region_of(self.env),
            read_timeout=self.settings.limits.request_timeout,
            connections=find_connections(self.settings, name),
            on_unreadable=partial(self.on_unreadable, name),
            on_special=partial(self.on_special, name),
            expected_folder=known.expected()
            if known
            else ExpectedFolder(self.missing, identity=self.folders.get(name)),
        )

    async def close(self) -> None:
        """Close the identities."""
        await self.identities.close()

    def _around(self, name: str) -> IdentityContext:
        from skyferry.clouds.identity.build import IdentityContext

        return IdentityContext(name, self.clock, self.env, partial(self.on_refused, name))

    def _queue(self, wanted: QueueAddress) -> EventQueue:
        context = self._queue_context(wanted)
        url = context.where.url
        credentials = self.identities.credentials(context.where, partial(self._around, wanted.name))
        with require_extra(url.known.extra, f"{url.scheme}://"):
            queue: EventQueue = url.known.opens(replace(context, credentials=credentials, region=region_of(self.env)))
        return queue

    def _queue_context(self, wanted: QueueAddress) -> QueueContext:
        where = _resolved(wanted.name, resolve_queue, wanted)
        on_health = partial(self.on_health, wanted.name)
        return QueueContext(wanted.name, where, self.settings.workspace, self.clock, self.owner, on_health)

    def _ledger_context(self) -> LedgerContext:
        settings, on_health = self.settings, partial(self.on_health, "")
        url = _resolved("ledger", resolve_ledger, settings.ledger)
        secret = self.identities.ledger_secret(url, settings.ledger, partial(self._around, "ledger"))
        workspace = settings.workspace
        return LedgerContext(url, settings.ledger, workspace, self.clock, self.owner, on_health, credentials=secret)


def _resolved(name: str, resolve: Callable[[T], R], settings: T) -> R:
    """Resolve settings that were not loaded from a file. Raises ConfigError."""
    try:
        return resolve(settings)
    except ValueError as error:
        raise ConfigError(str(error), where=name) from error


async def open_ledger(settings: Settings) -> Ledger:
    """Open the configured ledger. Raises as `Opener.ledger`."""
    return await Opener(settings).ledger()


def open_queue(settings: Settings, queue: str | None = None) -> EventQueue:
    """Open the queue of that name, or the first, until the process ends. Raises as `Opener.queue`."""
    return Opener(settings).queue(queue)
