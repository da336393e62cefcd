"""The workers of a ledger, and the roles of which each belongs to one worker at a time."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Protocol

from skyferry.frozen import dataclass
from skyferry.ports.ledger.listing import Page

MOST_KEYS = 10  # destination keys in a heartbeat


class WorkerState(StrEnum):
    """The states of a worker."""

    RUNNING = "running"
    DRAINING = "draining"  # takes no more work, and has no roles


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """A worker's report about itself."""

    host: str
    version: str  # of Skyferry
    region: str  # "" = not configured
    age: float  # seconds since the worker started
    state: WorkerState = WorkerState.RUNNING
    holds: int = 0  # transfers that it has claimed
    keys: tuple[
        tuple[str, str], ...
    ] = ()  # store and destination key of some of them, the oldest first; `MOST_KEYS` at most
    routes: str = ""  # digest of what decides where an event goes; "" = of an older release
    queues: str = ""  # digest of the queues


@dataclass(frozen=True, slots=True)
class HeldRole:
    """A role that a worker has."""

    name: str
    age: float  # seconds since the worker got it, by the ledger's clock


@dataclass(frozen=True, slots=True)
class WorkerEntry:
    """A worker, as it is listed."""

    id: str  # its name in leases: `Claims.owner`
    last: Heartbeat
    silence: float  # seconds since that heartbeat, by the ledger's clock
    roles: tuple[HeldRole, ...]  # by name

    @property
    def age(self) -> float:
        """The seconds since the worker started."""
        return self.last.age + self.silence


class Workers(Protocol):
    """Presence of workers, and leases on roles. Both last `lease` seconds from the last heartbeat, by the ledger's clock.

    The worker counts the lease of a role by its own monotonic clock from before it called, so it stops before another can
    begin. Of concurrent calls, exactly one gets a free role.

    A heartbeat MAY be lost in a failure of the engine. Two workers may then have a role until the lease of the first ends.
    Work under a role MUST therefore be safe when two workers do it for a moment.
    """

    owner: str
    lease: float

    async def heartbeat(self, last: Heartbeat, wanted: Sequence[str]) -> list[str]:
        """Record that this worker lives. Return the roles that it has now, sorted; all are among `wanted`.

        It gets each wanted role that it has already, whose lease has ended, or that no worker has. The age of a role begins anew
        if its lease had ended. A role that it has but does not want becomes free at once. Roles and workers whose lease has ended
        MAY be forgotten. Cheap: one step, whatever the number of workers, and no row that another worker's heartbeat changes.
        """

    async def list_workers(self, cursor: str = "", limit: int = 100) -> Page[WorkerEntry]:
        """Return a page of the workers whose lease has not ended, by id."""

    async def count_workers(self) -> dict[WorkerState, int]:
        """Return the number of these workers for every state."""
