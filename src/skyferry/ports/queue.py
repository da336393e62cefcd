"""The port of a queue of events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from skyferry.frozen import dataclass
from skyferry.model import Priority
from skyferry.ports.ledger import DeadLetter


@dataclass(frozen=True, slots=True)
class Message:
    """One leased message. `receipt` names this lease: after another receive of the same message it is stale."""

    id: str
    body: bytes  # raw: it may be anything
    receipt: str
    attempt: int  # how often it was received, this time included
    enqueued_at: float
    lease_until: float
    attributes: tuple[tuple[str, str], ...] = ()
    priority: Priority = Priority.NORMAL


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message to send."""

    body: bytes
    attributes: tuple[tuple[str, str], ...] = ()
    priority: Priority = Priority.NORMAL
    delay: float = 0.0
    dedup_id: str = ""  # sent again while the first is still in the queue: kept once


@dataclass(frozen=True, slots=True)
class Depth:
    """How full a queue is; -1 where the provider does not tell."""

    ready: int
    leased: int
    delayed: int
    oldest_age: float  # seconds since the oldest unacked message was sent; 0 when empty


class EventQueue(Protocol):
    """Where events come from: at least once, unordered, a lease per message."""

    name: str
    lease: float  # seconds a message is ours after receive or extend

    async def receive(self, limit: int, wait: float) -> list[Message]:
        """Lease 1 to `limit` messages; waits at most `wait` seconds for the first, then returns what there is, maybe [].

        Higher priority first, but a lower one MUST NOT wait for ever. A message whose lease ends comes again.
        """

    async def extend(self, messages: Sequence[Message], seconds: float = 0.0) -> list[Message]:
        """Renew the leases to `lease` seconds from now, or to `seconds` where that is longer; returns those that were lost.

        `seconds` is 600 at most.
        """

    async def ack(self, messages: Sequence[Message]) -> None:
        """Remove for ever. A stale receipt MUST NOT remove a message that another holds; it is no error.

        Durable on return, but for a loss of power, after which the messages may come again.
        """

    async def release(self, messages: Sequence[Message], delay: float) -> None:
        """Give back before the lease ends; they come again after `delay` seconds (as near as the provider can)."""

    async def send(self, messages: Sequence[Outgoing]) -> list[str]:
        """Durable on return; the ids, in order. A repeated `dedup_id` gives the id of the first."""

    async def depth(self) -> Depth:
        """Cheap enough to ask every few seconds."""

    async def close(self) -> None:
        """Free connections and threads; leases run out by themselves, or are freed at once where the adapter can. Idempotent."""


class DeadLetterSink(Protocol):
    """Where dead letters are sent too, for others to see."""

    async def publish(self, letters: Sequence[DeadLetter]) -> None:
        """At least once each, durably on return; called after the ledger has them. Raises QueueError."""

    async def close(self) -> None:
        """Free connections. Idempotent."""
