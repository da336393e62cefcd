"""What an end tells of itself to who wants to see whether routes can work. Optional: only `skyferry.doctor` asks.

A look may need permissions that a transfer does not. One that is refused, or that the provider does not offer, gives
Unknown and never an error: who may not look may still be able to copy.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Protocol, TypeVar, runtime_checkable

from skyferry.errors import PermissionDenied, SkyferryError, Unsupported
from skyferry.frozen import dataclass
from skyferry.model import QueueTraits

T = TypeVar("T")
READ, WRITE, DELETE, LIST = "read", "write", "delete", "list"


@dataclass(frozen=True, slots=True)
class Unknown:
    """Not known, and why."""

    reason: str


@dataclass(frozen=True, slots=True)
class Wrong:
    """What the settings say and the provider contradicts."""

    what: str
    hint: str


@dataclass(frozen=True, slots=True)
class Notice:
    """What a bucket tells one target of its changes. Keys begin with `prefix` and end with `suffix`."""

    target: str  # as the provider names it
    direct: bool  # the target is a queue's own address; else what it does with events is not seen from here
    created: bool  # every way in which an object comes is told
    deleted: bool  # and every way in which one goes
    events: tuple[str, ...]  # as the provider names them
    prefix: str = ""
    suffix: str = ""


@dataclass(frozen=True, slots=True)
class BucketFacts:
    """How a bucket is set up."""

    endpoint: str  # URL, or folder
    who: str | Unknown  # who we are there; no secret is in it
    region: str | Unknown
    versioning: str | Unknown
    encryption: str | Unknown  # of what names none
    notices: tuple[Notice, ...] | Unknown
    skew: float | Unknown  # seconds by which its clock is ahead of ours
    allowed: frozenset[str] | Unknown  # of READ, WRITE, DELETE, LIST, where the provider tells without trying
    kept: str = ""  # what forbids for a time that objects are deleted or replaced
    wrong: tuple[Wrong, ...] = ()


@dataclass(frozen=True, slots=True)
class Redrive:
    """What the queue does by itself with messages that come too often."""

    receives: int  # then it takes the message away
    target: str


@dataclass(frozen=True, slots=True)
class QueueFacts:
    """How a queue is set up."""

    endpoint: str
    who: str | Unknown
    address: str | Unknown  # what the notice of a bucket names: the queue itself, or the topic that it takes from
    redrive: Redrive | Unknown | None
    receives: bool | Unknown  # our identity may receive
    encryption: str | Unknown
    senders: frozenset[str] | Unknown  # services that its own policy lets send; "*" = anybody
    barred: Wrong | None = None  # why no service can send, whatever the policy says
    traits: QueueTraits = QueueTraits()
    notes: tuple[str, ...] = ()  # for people
    wrong: tuple[Wrong, ...] = ()


@runtime_checkable
class InspectableStore(Protocol):
    """An ObjectStore that tells."""

    async def inspect(self) -> BucketFacts:
        """Reads only. Raises as `ObjectStore.list` does where nobody answers, or there is no such bucket."""


@runtime_checkable
class InspectableQueue(Protocol):
    """An EventQueue that tells."""

    async def inspect(self) -> QueueFacts:
        """Reads only, and receives nothing. Raises QueueError where nobody answers, or there is no such queue."""

    async def sends(self) -> bool | Unknown:
        """Whether our identity may send, if the provider tells without a message. Raises QueueError where nobody answers."""


async def looked(look: Awaitable[T], permission: str) -> T | Unknown:
    """What the look gives; Unknown where it is refused (`permission` is what it needs) or fails."""
    try:
        return await look
    except PermissionDenied:
        return Unknown(f"may not look ({permission})")
    except Unsupported:
        return Unknown("the provider does not tell")
    except SkyferryError as error:
        return Unknown(error.message)
