"""The contexts from which the rows of URL schemes open their adapters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field
from pathlib import Path
from typing import Any

from skyferry.config.settings import LedgerSettings
from skyferry.config.urls import LedgerUrl, ResolvedQueue, ResolvedStore
from skyferry.errors import SkyferryError
from skyferry.frozen import dataclass
from skyferry.ports.clock import Clock


@dataclass(frozen=True, slots=True)
class StoreContext:
    """One store."""

    name: str
    where: ResolvedStore
    workspace: Path
    clock: Clock
    credentials: Any = field(default=None, repr=False)  # a provider of the kind that the scheme's cloud has
    region: str = ""  # of Amazon's, that the environment names
    read_timeout: float = 60.0  # seconds without a byte after which a connection has failed; adapters may use less
    connections: int = 128  # at the same time
    # called with the path of what a listing leaves out, and why
    on_unreadable: Callable[[str, SkyferryError], None] = lambda path, error: None
    on_special: Callable[[str, str], None] = lambda path, kind: None  # called with what is neither a file nor a folder
    expected_folder: Any = None  # an `ExpectedFolder` of the local adapter


@dataclass(frozen=True, slots=True)
class QueueContext:
    """One queue."""

    name: str
    where: ResolvedQueue
    workspace: Path
    clock: Clock
    owner: str  # the name of this process in leases
    on_health: Callable[[SkyferryError | None], None]  # see `Health.record_use`
    credentials: Any = field(default=None, repr=False)
    region: str = ""


@dataclass(frozen=True, slots=True)
class LedgerContext:
    """The ledger."""

    url: LedgerUrl
    settings: LedgerSettings
    workspace: Path
    clock: Clock
    owner: str
    on_health: Callable[[SkyferryError | None], None]
    credentials: Any = field(default=None, repr=False)  # of the password, for a ledger on a server
    reads: bool = False  # this process only reads it, and is not entered as an owner
