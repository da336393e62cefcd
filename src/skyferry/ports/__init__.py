"""The ports: Protocols between the engine and the world. Their docstrings are the contracts; adapters do not repeat them.

Every method is a coroutine that may be cancelled at any await. A cancelled call may or may not have taken effect; callers
MUST cope with both. Errors are those of `skyferry.errors`; any other exception is a bug of the adapter.
Times are seconds since 1970 (float), durations seconds, sizes bytes. `skyferry.testing` ships one conformance suite per port.
"""

from __future__ import annotations

from skyferry.model import Part, QueueTraits, Upload
from skyferry.ports import letter_attributes
from skyferry.ports.clock import Clock, Offload
from skyferry.ports.ledger import (
    Claims,
    Dead,
    DeadLetter,
    DeadLetterRef,
    DeadLetters,
    Done,
    Filter,
    HeldDelete,
    HeldDeletes,
    HeldFilter,
    Ledger,
    LetterLeases,
    Outcome,
    Page,
    Placements,
    Purpose,
    Refusal,
    RefusalLog,
    Released,
    Retry,
    Settled,
    Settlement,
    Skipped,
    SourceIdentities,
    TransferRow,
    Transfers,
    UploadLog,
    Wait,
    held_id,
)
from skyferry.ports.observer import Observer
from skyferry.ports.queue import DeadLetterSink, Depth, EventQueue, Message, Outgoing
from skyferry.ports.store import ANY, CopySource, ObjectData, ObjectStore, Precondition

__all__ = [
    "ANY",
    "Claims",
    "Clock",
    "CopySource",
    "Dead",
    "DeadLetter",
    "DeadLetterRef",
    "DeadLetterSink",
    "DeadLetters",
    "Depth",
    "Done",
    "EventQueue",
    "Filter",
    "HeldDelete",
    "HeldDeletes",
    "HeldFilter",
    "Ledger",
    "LetterLeases",
    "Message",
    "ObjectData",
    "ObjectStore",
    "Observer",
    "Offload",
    "Outcome",
    "Outgoing",
    "Page",
    "Part",
    "Placements",
    "Precondition",
    "Purpose",
    "QueueTraits",
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
    "Upload",
    "UploadLog",
    "Wait",
    "held_id",
    "letter_attributes",
]
