"""The port of the ledger, the durable memory. It is the sum of small Protocols; callers take the smallest one they need.

Every method is one atomic step, durable on return unless its docstring says otherwise. A cancelled call may or may not
have taken effect. Adapters MAY commit calls made at the same time together. A failure of the engine behind the ledger
is a LedgerError. A listing is paged: its cursor is valid with the same filter only.
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
from skyferry.ports.ledger.housekeeping import Backup, Durable, Housekeeping, LedgerMaintenance
from skyferry.ports.ledger.listing import Filter, Page
from skyferry.ports.ledger.placements import Placements
from skyferry.ports.ledger.refusals import Refusal, RefusalLog
from skyferry.ports.ledger.transfers import TransferRow, Transfers
from skyferry.ports.ledger.uploads import UploadLog

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
    "HeldDelete",
    "HeldDeletes",
    "HeldFilter",
    "Housekeeping",
    "Ledger",
    "LedgerMaintenance",
    "LetterLeases",
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
    "Skipped",
    "SourceIdentities",
    "TransferRow",
    "Transfers",
    "UploadLog",
    "Wait",
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
    Housekeeping,
    Protocol,
):
    """Everything that the ledger remembers, as one process sees it."""

    async def close(self) -> None:
        """Free this owner's leases at once, then all resources. Idempotent."""
