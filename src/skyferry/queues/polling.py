"""Polling of a service that does not wait for messages: often at first, then less and less often while the queue stays empty."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from skyferry.ports import Clock, Message
from skyferry.queues.notifier import Notifier

PATIENT = 10  # polls of an empty queue before the interval grows


class Polling:
    """Polls one queue for all receivers of a process."""

    def __init__(self, clock: Clock, interval: float, slowest: float) -> None:
        """`interval` is the time between polls of an empty queue at first, `slowest` the longest, in seconds."""
        self._clock, self._interval, self._slowest = clock, interval, slowest
        self._notifier = Notifier()
        self._heard = 0  # notifications before the last poll
        self._empty = 0  # empty polls in a row
        self._due = 0.0  # monotonic seconds, of the next poll
        self._closed = False

    async def receive(self, take: Callable[[], Awaitable[list[Message]]], wait: float) -> list[Message]:
        """Call `take` until it returns messages or `wait` seconds have passed; at once if it may not wait or was notified."""
        deadline = self._clock.monotonic() + wait
        while True:
            count = self._notifier.count
            batch: list[Message] = []
            if wait <= 0 or count != self._heard or self._clock.monotonic() >= self._due:
                batch = await self._poll(take, count)
            now = self._clock.monotonic()
            if batch or now >= deadline:
                return batch
            await self._notifier.wait(count, self._clock, min(deadline, self._due) - now)
            if self._closed:
                return []

    def notify(self) -> None:
        """Poll at once: this process has sent or released a message."""
        self._notifier.notify()

    def close(self) -> None:
        """End all waits."""
        self._closed = True
        self._notifier.notify()

    async def _poll(self, take: Callable[[], Awaitable[list[Message]]], count: int) -> list[Message]:
        batch = await take()
        self._heard, self._empty = count, 0 if batch else self._empty + 1
        pause = self._interval * 2.0 ** min(max(0, self._empty - PATIENT), 16)
        self._due = self._clock.monotonic() + (0.0 if batch else min(pause, self._slowest))
        return batch
