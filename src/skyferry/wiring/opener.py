"""Opens what the URLs of the configuration name. Adapters of an extra are imported when one is asked for."""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

from skyferry.clock import SystemClock
from skyferry.clouds.identity.build import Surroundings
from skyferry.config.settings import QueueAddress, Settings
from skyferry.config.urls import LedgerUrl, QueueUrl, StoreUrl
from skyferry.errors import BucketNotFound, ConfigError, SkyferryError
from skyferry.ledgers.memory.ledger import MemoryLedger
from skyferry.ledgers.sqlite.ledger import SqliteLedger
from skyferry.ports import Clock, EventQueue, Ledger, ObjectStore
from skyferry.queues.memory import MemoryQueue
from skyferry.queues.sqlite.queue import SqliteQueue
from skyferry.stores.local.blocking.bucket import ExpectedFolder
from skyferry.stores.local.special import SpecialFiles
from skyferry.stores.local.store import LocalStore
from skyferry.stores.memory import MemoryStore
from skyferry.stores.simulator import SimulatedStore
from skyferry.wiring.clouds import Identities, cloud_queue, cloud_store
from skyferry.wiring.destinations import KnownDestination


def owner() -> str:
    """This process's name in leases: unique, and for people to recognise."""
    return f"{socket.gethostname()[:40]}-{os.getpid()}-{uuid.uuid4().hex[:8]}"


@dataclass(frozen=True, slots=True)
class Opener:
    """Opens adapters for one process. The caller closes each, then this."""

    settings: Settings
    clock: Clock = field(default_factory=SystemClock)
    owner: str = field(default_factory=owner)
    env: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)
    on_unreadable: Callable[[str, str], None] = lambda store, name: None  # hears of names that cannot be keys
    on_special: Callable[[str, str, str], None] = lambda store, path, kind: (
        None
    )  # hears of what is no file, nor a folder
    missing: type[BucketNotFound] = BucketNotFound  # raised by local stores whose folder does not exist
    destinations: Mapping[str, KnownDestination] = field(default_factory=dict)  # those that the ledger knows, by store
    on_refused: Callable[[str, SkyferryError], None] = lambda name, error: None  # hears of credentials not given
    on_health: Callable[[str, SkyferryError | None], None] = lambda queue, error: None  # see `Health.hear`
    identities: Identities = field(default_factory=Identities)

    def ledger(self) -> Ledger:
        """The ledger. Raises LedgerError."""
        settings, url = self.settings, LedgerUrl.parse(self.settings.ledger.url)
        if url.on_disk:
            path, hear = url.path(settings.workspace), partial(self.on_health, "")
            return SqliteLedger(path, self.owner, self.clock, settings.ledger.lease, hear)
        return MemoryLedger(self.owner, self.clock, settings.ledger.lease)

    def queue(self, name: str | None = None) -> EventQueue:
        """The queue of that name, or the first. Raises QueueError, or ConfigError if there is no such queue."""
        for wanted in self.settings.queues:
            if name in (None, wanted.name):
                return self._queue(wanted)
        raise ConfigError(f"there is no queue {name!r}", hint="see queues in the configuration")

    def dead_letters(self, *, read: bool = False) -> EventQueue | None:
        """The queue that dead letters are sent to, if one is configured. Raises as `queue`; ConfigError if it cannot be `read`."""
        if (wanted := self.settings.dead_letters) is None:
            return None
        url = QueueUrl.parse(wanted.url)
        if read and url.scheme == "pubsub" and not url.account:
            hint = "make a subscription to its topic, and say pubsub://PROJECT/SUBSCRIPTION?topic=TOPIC"
            raise ConfigError("it has no subscription to read dead letters from", where=wanted.name, hint=hint)
        return self._queue(wanted)

    def store(self, name: str) -> ObjectStore:
        """The store of that name. Raises StoreError, or ConfigError where its extra is missing."""
        wanted = self.settings.stores[name]
        url = StoreUrl.parse(wanted.url)
        if url.known.extra:
            quiet = self.settings.limits.request_timeout
            return cloud_store(wanted, self._around(name), self.identities, quiet)
        if not url.on_disk:
            return MemoryStore(name, self.clock)
        folder = url.path(self.settings.workspace)
        special = SpecialFiles(name, wanted.special_files, partial(self.on_special, name))
        hear = partial(self.on_unreadable, name)
        follow = wanted.special_files == "follow"
        expected = self.destinations[name].expected() if name in self.destinations else ExpectedFolder(self.missing)
        local = LocalStore(name, folder, on_unreadable=hear, on_special=special.found, expected=expected, follow=follow)
        if url.scheme == "sim":
            return SimulatedStore(local, url.simulator(wanted.simulator), self.clock)
        return local

    async def close(self) -> None:
        """End the identities."""
        await self.identities.close()

    def _around(self, name: str) -> Surroundings:
        return Surroundings(name, self.clock, self.env, partial(self.on_refused, name))

    def _queue(self, wanted: QueueAddress) -> EventQueue:
        url = QueueUrl.parse(wanted.url)
        if url.known.extra:
            return cloud_queue(wanted, self._around(wanted.name), self.identities)
        if url.on_disk:
            path = url.path(self.settings.workspace)
            hear = partial(self.on_health, wanted.name)
            return SqliteQueue(path, wanted.name, self.owner, self.clock, wanted.lease, hear)
        return MemoryQueue(wanted.name, self.clock, wanted.lease)


def open_ledger(settings: Settings) -> Ledger:
    """The configured ledger. Raises LedgerError."""
    return Opener(settings).ledger()


def open_queue(settings: Settings, queue: str | None = None) -> EventQueue:
    """The queue of that name, or the first, for as long as the process runs. Raises as `Opener.queue`."""
    return Opener(settings).queue(queue)
