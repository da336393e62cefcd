"""What the suite needs of an adapter, and what all its cases share."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

import pytest

from skyferry.ports import EventQueue, Message

GUARD = 60.0  # real seconds before a call that should have ended counts as hung
BODIES = (
    b"",
    b'{"key": "value"}',
    '"\u00e9\U0001f680\\ \u2028\ufeff'.encode(),
    b"nul\0inside",
    b"\xff\xfe not UTF-8 \x80",
    b"\xed\xa0\x80",  # a lone surrogate
    b" \r\n\t",
    bytes(range(256)) * 100,
)


@dataclass(frozen=True, slots=True)
class QueueTraits:
    """What a queue is known to do, and how long the suite waits for it."""

    lease: float = 30.0  # seconds that `open` leases for; a provider's shortest is the quickest in real time
    delay: float = 10.0  # seconds: a delay that it can keep
    slack: float = 0.0  # seconds by which anything may come late; also how long a look into the queue lasts
    idle: float = 20.0  # seconds that it is asked to wait for nothing
    poll: float = 1.0  # seconds within which one client sees what another has sent
    patience: float | None = 7201.0  # seconds after which a low one goes before new high ones; None = no priorities
    dedup: bool = True  # a repeated `dedup_id` is kept once
    counts: bool = True  # `depth` is exact, not an estimate or -1
    frees: bool = True  # `close` frees leases at once


class QueueHarness(ABC):
    """One fresh, empty queue."""

    traits: QueueTraits = QueueTraits()

    @abstractmethod
    async def open(self) -> EventQueue:
        """Another client of it, as from another process; the harness closes it in the end."""

    @abstractmethod
    async def pass_time(self, seconds: float) -> None:
        """Move the clock, or sleep."""


async def soon(call: asyncio.Task[list[Message]]) -> list[Message]:
    """The result of a call that needs no time to pass."""
    async with asyncio.timeout(GUARD):
        return await call


def bodies(messages: Sequence[Message]) -> list[bytes]:
    """In the order received."""
    return [message.body for message in messages]


class Cases:
    """What all cases share."""

    deviations: ClassVar[Mapping[str, str]] = MappingProxyType({})

    @pytest.fixture(autouse=True)
    def _known_deviation(self, request: pytest.FixtureRequest) -> None:
        if reason := self.deviations.get(request.node.originalname):
            request.applymarker(pytest.mark.xfail(reason=reason, strict=True))

    @pytest.fixture
    async def one(self, harness: QueueHarness) -> EventQueue:
        """A client."""
        return await harness.open()

    @pytest.fixture
    async def two(self, harness: QueueHarness) -> EventQueue:
        """Another."""
        return await harness.open()

    async def get(self, queue: EventQueue, harness: QueueHarness, limit: int = 10) -> list[Message]:
        """What there is now."""
        return await queue.receive(limit, harness.traits.slack)

    @staticmethod
    def needs(does: bool, otherwise: str) -> None:
        """Skip a sentence that the traits exclude."""
        if not does:
            pytest.skip(f"this queue {otherwise}")
