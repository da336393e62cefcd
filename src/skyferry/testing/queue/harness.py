"""The harness that an adapter gives the suite, and the helpers of all cases."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import ClassVar

import pytest

from skyferry.frozen import dataclass
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
class QueueTiming:
    """Times that the suite uses and allows. A queue's abilities are in its `traits`."""

    lease: float = 30.0  # seconds of the leases of `open`; a short one is quicker in real time
    delay: float = 10.0  # seconds: a delay that the queue supports
    slack: float = 0.0  # seconds by which anything may be late; also the wait of a receive
    idle: float = 20.0  # seconds that a receive waits on an empty queue
    poll: float = 1.0  # seconds within which a client sees a message of another
    patience: float = 7201.0  # seconds after which a message of low priority precedes new ones of high


class QueueHarness(ABC):
    """One fresh, empty queue."""

    timing: QueueTiming = QueueTiming()

    @abstractmethod
    async def open(self) -> EventQueue:
        """Open another client, as from another process. The harness closes it."""

    @abstractmethod
    async def pass_time(self, seconds: float) -> None:
        """Move the clock, or sleep."""


async def finish_soon(call: asyncio.Task[list[Message]]) -> list[Message]:
    """Return the result of a call that needs no time to pass."""
    async with asyncio.timeout(GUARD):
        return await call


def list_bodies(messages: Sequence[Message]) -> list[bytes]:
    """Return the bodies in the order received."""
    return [message.body for message in messages]


class QueueCases:
    """The fixtures and helpers of all cases."""

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
        """Receive the messages that are ready now."""
        return await queue.receive(limit, harness.timing.slack)

    @staticmethod
    def needs(does: bool, otherwise: str) -> None:
        """Skip a sentence that the traits exclude."""
        if not does:
            pytest.skip(f"this queue {otherwise}")
