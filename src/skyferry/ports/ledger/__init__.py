"""The port of the ledger, the durable memory. It is the sum of small Protocols; callers take the smallest one they need.

Atomicity: every method is one atomic step, durable on return unless its docstring says otherwise. A batch is one step
too: all of it takes effect, or none. Within a batch each item sees the effects of the items before it, and answers come
in the order of the items. A cancelled or failed call may or may not have taken effect; the caller repeats it or does
without. Adapters MAY commit calls made at the same time together.

Processes: any number of processes have the same ledger open, on any number of machines. Each has a name (`owner`) that no
other process has. What one process has recorded, every other sees in its next `claim`, `renew`, `settle` or
`save_progress`. Other queries see all that their own process has recorded; of other processes they MAY see a state that is a
few seconds old.

Time: "now" is the ledger's clock, such as the database's, and the same for all processes. A process never sends its own
time to be compared with it, and never compares a time of the ledger with its own clock. There are three kinds of time:

- Durations, in seconds. Leases, delays and ages are durations on the way in and on the way out. A duration in an answer
  counts from some moment during the call. The caller therefore counts a lease from before the call.
- Times of the ledger: `created_at`, `updated_at`, `due_at`, `redriven_at`, `decided_at`. They are seconds since 1970 by
  its clock, for listings and for people. The order of two of them is the order of their steps if one process made both.
- Times in records that callers pass in, such as `Failure.at`, `Placement.settled_at`, `DeadLetter.at`. The ledger returns
  them unchanged, orders and filters by them, but compares none with now; except for `prune`, which is not exact.

A clock that is set back delays what waits. It MUST NOT end a lease early, nor give out a fence a second time.

Errors: a failure of the engine behind the ledger is a LedgerError. The adapter connects again by itself, and the next
call succeeds once the engine answers. A listing is paged: its cursor is valid with the same filter only.
"""

from __future__ import annotations

from typing import Protocol

from skyferry.ports.ledger.claims import (
    Claims,
    Dead,
    Done,
    Outcome,
    Released,
    Retry,
    Settled,
    Settlement,
    Skipped,
    Wait,
)
from skyferry.ports.ledger.dead_letters import DeadLetter, DeadLetterRef, DeadLetters, LetterLeases, Purpose
from skyferry.ports.ledger.held_deletes import HeldDelete, HeldDeletes, HeldFilter, SourceIdentities, held_id
from skyferry.ports.ledger.housekeeping import (
    Backup,
    Durable,
    Housekeeping,
    LedgerMaintenance,
    LedgerRecords,
    LedgerStatus,
)
from skyferry.ports.ledger.limits import OpenBreaker, SharedBreakers, SharedRates
from skyferry.ports.ledger.listing import Filter, Page
from skyferry.ports.ledger.placements import Placements
from skyferry.ports.ledger.refusals import Refusal, RefusalLog
from skyferry.ports.ledger.transfers import TransferRow, Transfers
from skyferry.ports.ledger.uploads import UploadLog
from skyferry.ports.ledger.workers import Heartbeat, HeldRole, WorkerEntry, Workers, WorkerState

__all__ = [
    "Backup",
    "Claims",
    "Dead",
    "DeadLetter",
    "DeadLetterRef",
    "DeadLetters",
    "Done",
    "Durable",
    "Filter",
    "Heartbeat",
    "HeldDelete",
    "HeldDeletes",
    "HeldFilter",
    "HeldRole",
    "Housekeeping",
    "Ledger",
    "LedgerMaintenance",
    "LedgerRecords",
    "LedgerStatus",
    "LetterLeases",
    "OpenBreaker",
    "Outcome",
    "Page",
    "Placements",
    "Purpose",
    "Refusal",
    "RefusalLog",
    "Released",
    "Retry",
    "Settled",
    "Settlement",
    "SharedBreakers",
    "SharedRates",
    "Skipped",
    "SourceIdentities",
    "TransferRow",
    "Transfers",
    "UploadLog",
    "Wait",
    "WorkerEntry",
    "WorkerState",
    "Workers",
    "held_id",
]


class Ledger(
    Claims,
    Placements,
    Transfers,
    UploadLog,
    DeadLetters,
    LetterLeases,
    RefusalLog,
    HeldDeletes,
    SourceIdentities,
    Workers,
    SharedRates,
    SharedBreakers,
    Housekeeping,
    Protocol,
):
    """Everything that the ledger remembers, as one process sees it."""

    async def close(self) -> None:
        """Free this owner's leases and roles at once, forget it as a worker, then free all resources. Idempotent."""
