"""The ports: what the engine needs of the world. The docstrings are the contracts; adapters do not repeat them.

Every method is a coroutine that may be cancelled at any await; a cancelled call may or may not have taken effect, and
callers MUST cope with both. Errors are those of `skyferry.errors`; anything else is a bug of the adapter.
Times are seconds since 1970 (float), durations seconds, sizes bytes. `skyferry.testing` ships one conformance suite per port.
"""

from __future__ import annotations

from skyferry.model import Part, Upload
from skyferry.ports import letter_attributes
from skyferry.ports.clock import (
    Clock,
    Observer,
    Offload,
)
from skyferry.ports.ledger import (
    Dead,
    DeadLetter,
    Done,
    Filter,
    Ledger,
    Outcome,
    Page,
    Released,
    Retry,
    Settled,
    Settlement,
    Skipped,
    TransferRow,
    Wait,
)
from skyferry.ports.ledger.held_deletes import HeldDelete, HeldDeletes, HeldFilter, held_id
from skyferry.ports.ledger.refusals import Refusal
from skyferry.ports.queue import (
    DeadLetterSink,
    Depth,
    EventQueue,
    Message,
    Outgoing,
)
from skyferry.ports.store import (
    ANY,
    CopySource,
    ObjectData,
    ObjectStore,
    Precondition,
)

__all__ = [
    "ANY",
    "Clock",
    "CopySource",
    "Dead",
    "DeadLetter",
    "DeadLetterSink",
    "Depth",
    "Done",
    "EventQueue",
    "Filter",
    "HeldDelete",
    "HeldDeletes",
    "HeldFilter",
    "Ledger",
    "Message",
    "ObjectData",
    "ObjectStore",
    "Observer",
    "Offload",
    "Outcome",
    "Outgoing",
    "Page",
    "Part",
    "Precondition",
    "Refusal",
    "Released",
    "Retry",
    "Settled",
    "Settlement",
    "Skipped",
    "TransferRow",
    "Upload",
    "Wait",
    "held_id",
    "letter_attributes",
]
