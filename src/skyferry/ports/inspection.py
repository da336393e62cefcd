"""The ports of inspection: settings of buckets and queues, for `skyferry.doctor`. Adapters offer them optionally.

An inspection may need permissions that a transfer does not need. If one is denied, or the provider does not offer the
value, the result is Unknown and never an error: copies may still work.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Protocol, TypeVar, runtime_checkable

from skyferry.errors import PermissionDenied, SkyferryError, Unsupported
from skyferry.frozen import dataclass
from skyferry.model import QueueTraits

T = TypeVar("T")
READ, WRITE, DELETE, LIST = "read", "write", "delete", "list"
OUTAGE = 12 * 3600.0  # seconds that messages must be able to wait


@dataclass(frozen=True, slots=True)
class Unknown:
    """A value that is not known, with the reason."""

    reason: str


@dataclass(frozen=True, slots=True)
class Wrong:
    """A setting that the provider contradicts."""

    what: str
    hint: str
    loses: bool = False  # the server may lose what it has confirmed


@dataclass(frozen=True, slots=True)
class Notice:
    """The notifications of a bucket to one target, for keys that begin with `prefix` and end with `suffix`."""

    target: str  # as the provider names it
    direct: bool  # the target is a queue; else it is not known where it forwards events
    created: bool  # it covers every way in which an object is created
    deleted: bool  # and deleted
    events: tuple[str, ...]  # as the provider names them
    prefix: str = ""
    suffix: str = ""


@dataclass(frozen=True, slots=True)
class BucketFacts:
    """The settings of a bucket."""

    endpoint: str  # URL, or folder
    who: str | Unknown  # the identity of the requests; contains no secret
    region: str | Unknown
    versioning: str | Unknown
    encryption: str | Unknown  # of objects written without an explicit one
    notices: tuple[Notice, ...] | Unknown
    skew: float | Unknown  # seconds by which its clock is ahead
    allowed: frozenset[str] | Unknown  # of READ, WRITE, DELETE, LIST, if the provider reports it without a try
    service: str | Unknown = ""  # as the server names itself; "" = there is only one
    kept: str = ""  # the policy that forbids deleting or replacing objects for a time
    wrong: tuple[Wrong, ...] = ()


@dataclass(frozen=True, slots=True)
class Redrive:
    """The redrive policy: messages received too often move to another queue."""

    receives: int  # after which a message moves
    target: str


@dataclass(frozen=True, slots=True)
class QueueFacts:
    """The settings of a queue."""

    endpoint: str
    who: str | Unknown
    address: str | Unknown  # as a bucket's notification names it: the queue, or the topic it subscribes to
    redrive: Redrive | Unknown | None
    receives: bool | Unknown  # the identity may receive
    encryption: str | Unknown
    senders: frozenset[str] | Unknown  # services that its policy allows to send; "*" = all
    barred: Wrong | None = None  # why no service can send, regardless of the policy
    traits: QueueTraits = QueueTraits()
    notes: tuple[str, ...] = ()  # for people
    wrong: tuple[Wrong, ...] = ()


@dataclass(frozen=True, slots=True)
class LedgerFacts:
    """The settings of the server of a ledger, or of the file of a ledger or queue."""

    endpoint: str = ""  # without credentials; "" = there is no server
    who: str | Unknown = ""
    skew: float | Unknown = 0.0  # seconds by which its clock is ahead
    notes: tuple[str, ...] = ()  # for people
    wrong: tuple[Wrong, ...] = ()
    doubtful: tuple[Wrong, ...] = ()  # settings that are wrong in some environments


@runtime_checkable
class InspectableStore(Protocol):
    """An ObjectStore that can be inspected."""

    async def inspect(self) -> BucketFacts:
        """Return the settings, without writing. Raises like `ObjectStore.list` if the bucket is missing or unreachable."""


@runtime_checkable
class InspectableQueue(Protocol):
    """An EventQueue that can be inspected."""

    async def inspect(self) -> QueueFacts:
        """Return the settings, without receiving. Raises QueueError if the queue is missing or unreachable."""

    async def sends(self) -> bool | Unknown:
        """Return True if the identity may send, without sending. Raises QueueError if the queue is unreachable."""


@runtime_checkable
class InspectableLedger(Protocol):
    """The maintenance of a ledger whose server has settings."""

    async def inspect(self) -> LedgerFacts:
        """Return the settings of the server, without creating the ledger. Raises LedgerError if it is unreachable."""


async def await_or_unknown(result: Awaitable[T], permission: str) -> T | Unknown:
    """Return the result; Unknown if it is denied (it needs `permission`) or fails."""
    try:
        return await result
    except PermissionDenied:
        return Unknown(f"not permitted ({permission})")
    except Unsupported:
        return Unknown("the provider does not report it")
    except SkyferryError as error:
        return Unknown(error.message)
