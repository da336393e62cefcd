"""Health, pruning and maintenance of a ledger."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from skyferry.frozen import dataclass
from skyferry.model import State
from skyferry.ports.ledger.listing import Page
from skyferry.ports.ledger.workers import WorkerEntry

if TYPE_CHECKING:
    from skyferry.ports.ledger import Ledger


class LedgerRecords(Protocol):
    """The part of a ledger that a diagnosis reads; see the methods of `Ledger` with these names."""

    async def count_held_deletes(self) -> list[tuple[str, str, int]]: ...

    async def count_unrouted(self, limit: int = 20) -> list[tuple[str, int]]: ...

    async def get_identity(self, source: str) -> str: ...

    async def list_workers(self, cursor: str = "", limit: int = 100) -> Page[WorkerEntry]: ...


class Housekeeping(Protocol):
    """Upkeep of an open ledger."""

    async def check_writable(self) -> None:
        """Raise LedgerError if the ledger cannot be written."""

    async def prune(self, older_than: float, limit: int = 1000) -> int:
        """Forget settled transfers and refusals that have not changed for more than `older_than` seconds, `limit` at most.

        Return the count. Placements and dead letters stay.
        """


class Durable(Protocol):
    """A ledger or a queue that outlives its processes, seen from outside: it is examined without being opened or created."""

    where: str  # for people: the file, or the address without credentials
    remedy: str  # the instruction for people when it is damaged

    async def exists(self) -> bool:
        """Return True if it has been created."""

    async def find_damage(self, *, quick: bool = False) -> list[str]:
        """Return one sentence per problem; [] = intact. A service may be using it. `quick` MAY skip slow comparisons.

        Without `quick`, raises LedgerIncompatible for a ledger that is too new: records that this program misses are no damage.
        It may read for minutes, but ends soon once it is cancelled.
        """


@dataclass(frozen=True, slots=True)
class Backup:
    """A copy of a ledger."""

    file: Path
    size: int  # bytes


@dataclass(frozen=True, slots=True)
class LedgerStatus:
    """The schema and the size of a ledger."""

    engine: str  # with its version
    version: int  # of the schema; 0 = from before there were versions
    compatible_from: int  # the oldest version that a program which uses it may know
    known: int  # the version that this program knows
    pending: tuple[str, ...]  # steps, in the order in which they are applied
    transfers: Mapping[State, int] | None  # by state; None if this program cannot read them
    size: int  # bytes


class LedgerMaintenance(Durable, Protocol):
    """Commands on a ledger as a whole. An adapter offers it; an engine that forgets everything offers none."""

    async def read_status(self) -> LedgerStatus:
        """Return the status, also of a ledger that is too new for this program. Raises LedgerError."""

    def read_records(self) -> AbstractAsyncContextManager[LedgerRecords]:
        """Read a ledger of this program's version that exists. Nothing is changed there, and this process is not registered."""

    def migrate(self) -> AsyncIterator[str]:
        """Apply all pending steps of the schema, create the ledger if it is missing, and yield each step once it is committed.

        A service may be using the ledger. Of two calls at the same time, one waits for the other. Raises LedgerIncompatible if
        the ledger is too new or a right is missing; LedgerError before a contraction while an older program uses the ledger.
        """

    async def back_up(self, target: Path) -> Backup:
        """Copy the ledger as of one moment, durably, into a new file, or into a new file in a folder.

        A service may be using the ledger. Leases are not copied. Raises LedgerError if the copy fails; SkyferryError if the
        file exists, or if the backups are made by the server of the ledger: the hint then has its commands.
        """

    def rebuild(self, *, add: bool = False) -> AbstractAsyncContextManager[Ledger]:
        """Open a ledger to fill, which replaces a lost or damaged one when the context ends. The damaged one is kept aside.

        An interrupted rebuild is continued by the next. Readable dead letters are carried over. With `add`, an intact
        ledger is opened to add to it. Raises LedgerError while a process has the ledger open, unless it is on a server;
        SkyferryError if it is intact and not empty, without `add`.
        """
