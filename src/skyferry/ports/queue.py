"""The ports of queues: events come from an EventQueue, dead letters are published to a DeadLetterSink."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from skyferry.frozen import dataclass
from skyferry.model import ObjectEvent, Priority, QueueTraits
from skyferry.ports.ledger import DeadLetter, Durable


@dataclass(frozen=True, slots=True)
class Message:
    """One leased message."""

    id: str
    body: bytes  # raw: any bytes
    receipt: str  # identifies this lease; invalid once the message is received again
    attempt: int  # the number of receives, this one included; 1 where the service does not count them
    enqueued_at: float
    lease_until: float
    attributes: tuple[tuple[str, str], ...] = ()
    priority: Priority = Priority.NORMAL
    event: ObjectEvent | None = None  # the content in place of `body`, see `Outgoing`


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message to send."""

    body: bytes
    attributes: tuple[tuple[str, str], ...] = ()
    priority: Priority = Priority.NORMAL
    delay: float = 0.0
    dedup_id: str = ""  # a message with this id is kept once while the first is in the queue
    event: ObjectEvent | None = None  # the content in place of `body`: only a queue in memory takes it


@dataclass(frozen=True, slots=True)
class Depth:
    """Numbers of messages in a queue; -1 = the provider does not report it."""

    ready: int
    leased: int
    delayed: int
    oldest_age: float  # seconds since the oldest message was sent; 0 = the queue is empty


class EventQueue(Protocol):
    """A source of events: at-least-once delivery, unordered, with a lease per message. `traits` states its abilities."""

    name: str

    @property
    def lease(self) -> float:
        """Seconds that a receive or an extension leases a message. The first receive may find a shorter one."""

    @property
    def traits(self) -> QueueTraits:
        """Its abilities. The first receive may find less."""

    async def receive(self, limit: int, wait: float) -> list[Message]:
        """Lease 1 to `limit` messages. Wait up to `wait` seconds for the first, then return those available, maybe [].

        A message with a higher priority comes first, but one with a lower priority MUST NOT wait for ever. A message whose
        lease ends is delivered again.
        """

    async def extend(self, messages: Sequence[Message], seconds: float = 0.0) -> list[Message]:
        """Set the leases to end `lease` seconds from now, or `seconds` if that is longer. Return the messages that were lost.

        The lease is capped at `traits.max_lease`.
        """

    async def ack(self, messages: Sequence[Message]) -> None:
        """Delete messages. A stale receipt is no error, and MUST NOT delete a message that another client leases.

        Durable on return, except in a power failure: after that the messages MAY be delivered again.
        """

    async def release(self, messages: Sequence[Message], delay: float) -> None:
        """End the leases. The messages are delivered again after `delay` seconds, or `traits.max_delay` if that is shorter."""

    async def send(self, messages: Sequence[Outgoing]) -> list[str]:
        """Send messages, durably on return. Return their ids, in order; a repeated `dedup_id` gives the id of the first."""

    async def depth(self) -> Depth:
        """Return the numbers of messages. Cheap enough to call every few seconds."""

    async def close(self) -> None:
        """Free connections and threads. Leases end by time, or at once with `traits.frees_on_close`. Idempotent."""


class DurableQueue(Durable, Protocol):
    """A queue that Skyferry stores, seen from outside."""

    async def read_depth(self) -> Depth:
        """Return the numbers of messages of a queue that exists. Raises QueueError if it is none, or too new."""


class DeadLetterSink(Protocol):
    """A destination to which dead letters are published."""

    async def publish(self, letters: Sequence[DeadLetter]) -> None:
        """Publish each letter at least once, durably on return. The ledger already has them. Raises QueueError."""

    async def close(self) -> None:
        """Free connections. Idempotent."""
