"""The last step of a message: it is acknowledged when all of its transfers are settled, or waits in memory for a retry."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from skyferry.engine.consume.batch import Batcher
from skyferry.engine.consume.in_flight import InFlight, LeasedMessage
from skyferry.engine.telemetry import Reporter
from skyferry.errors import QueueError
from skyferry.ports import Clock, EventQueue


class AckBatcher:
    """Acks and releases in batches, one task per queue and kind. After a failed ack the settled message is redelivered."""

    def __init__(self, in_flight: InFlight, clock: Clock, reporter: Reporter, batch: int) -> None:
        self._in_flight, self._clock, self._reporter, self._batch = in_flight, clock, reporter, batch
        self._batchers: dict[tuple[str, bool], Batcher[LeasedMessage, None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.changed = asyncio.Event()  # set whenever there is more room

    def finish(self, finished: Sequence[LeasedMessage]) -> None:
        """Ack, release or keep waiting these finished messages, without blocking."""
        for leased in finished:
            if leased.retry_at is None or leased.foreign or not self._waits(leased, leased.retry_at):
                self._batcher(leased.queue, leased.retry_at is None).post(leased)

    def give_back(self) -> None:
        """Close the waiting room. Waiting messages, and later ones, are released to their queues."""
        waiting = self._in_flight.waiting
        waiting.closed = True
        for leased in list(waiting):
            waiting.leave(leased)
            self._batcher(leased.queue, ack=False).post(leased)

    def _waits(self, leased: LeasedMessage, retry_at: float) -> bool:
        """Let it wait in memory, and return True. If the waiting room is full, schedule its release with a growing delay."""
        now = self._clock.time()
        away = self._in_flight.waiting.enter(leased, self._clock.monotonic() + max(0.0, retry_at - now))
        if away is None:
            self.changed.set()  # a waiting message leaves room for another
            return True
        leased.retry_at = max(retry_at, now + away)
        return False

    async def drained(self) -> None:
        """Return once every message handed over is acked or released."""
        for batcher in list(self._batchers.values()):
            await batcher.drained()

    def _batcher(self, queue: EventQueue, ack: bool) -> Batcher[LeasedMessage, None]:
        key = (queue.name, ack)
        if key not in self._batchers:

            async def send(batch: Sequence[LeasedMessage]) -> list[None]:
                try:
                    await (self._ack(queue, batch) if ack else self._release(queue, batch))
                except QueueError as error:
                    self._reporter.report_queue_failure(queue.name, error)
                for leased in batch:
                    self._in_flight.remove_message(leased)
                self.changed.set()
                return [None] * len(batch)

            self._batchers[key] = Batcher(send, self._batch, f"{'ack' if ack else 'release'} {queue.name}")
        return self._batchers[key]

    async def _ack(self, queue: EventQueue, batch: Sequence[LeasedMessage]) -> None:
        await queue.ack([leased.message for leased in batch])
        self._reporter.report_acks(queue.name, len(batch))

    async def _release(self, queue: EventQueue, batch: Sequence[LeasedMessage]) -> None:
        """Release in groups of equal delay, to the tenth of a second, so that a store's outage costs few calls."""
        now = self._clock.time()
        delays: dict[float, list[LeasedMessage]] = {}
        for leased in batch:
            delays.setdefault(round(max(0.0, (leased.retry_at or now) - now), 1), []).append(leased)
        for delay, group in delays.items():
            await queue.release([leased.message for leased in group], delay)
            self._reporter.report_releases(queue.name, len(group), delay)
