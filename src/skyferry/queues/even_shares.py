"""A decorator for the queue of one of several processes: none leases more than its share while others have nothing to do."""

from __future__ import annotations

from collections.abc import Sequence

from skyferry.ports import Clock, EventQueue, Message
from skyferry.ports.decorators import QueueDecorator

YIELD = 0.02  # seconds that a process with more than its share waits, so that others come first
FIRST = 32  # messages taken at once from a queue that was empty


class EvenShares(QueueDecorator):
    """Takes at most this process's share of the messages that are ready or leased. The inner queue MUST report its depth cheaply.

    A receive takes hundreds of messages, for the group commit. A short backlog, or one of large objects, would be leased by
    the first process alone.
    """

    def __init__(self, inner: EventQueue, processes: int, clock: Clock) -> None:
        super().__init__(inner)
        self._processes, self._clock = processes, clock
        self._held = 0  # messages; too many if leases were lost, which only delays

    async def receive(self, limit: int, wait: float) -> list[Message]:
        depth = await self.inner.depth()
        share = -(-(depth.ready + depth.leased) // self._processes) - self._held
        if depth.ready and share < 1:
            await self._clock.sleep(YIELD)
        messages = await self.inner.receive(min(limit, max(share, 1) if depth.ready else FIRST), wait)
        self._held += len(messages)
        return messages

    async def extend(self, messages: Sequence[Message], seconds: float = 0.0) -> list[Message]:
        lost = await self.inner.extend(messages, seconds)
        self._drop(lost)
        return lost

    async def ack(self, messages: Sequence[Message]) -> None:
        self._drop(messages)
        await self.inner.ack(messages)

    async def release(self, messages: Sequence[Message], delay: float) -> None:
        self._drop(messages)
        await self.inner.release(messages, delay)

    def _drop(self, messages: Sequence[Message]) -> None:
        self._held = max(0, self._held - len(messages))
