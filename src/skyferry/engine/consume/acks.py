"""The last step of a message: acked when all of its transfers are settled; when one has to come again, it waits in hand."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from skyferry.engine.consume.batch import Batcher
from skyferry.engine.consume.in_flight import Held, Hold
from skyferry.engine.telemetry import Reporter
from skyferry.errors import QueueError
from skyferry.ports import Clock, EventQueue


class Closer:
    """Acks and releases in batches, one task per queue and kind. A failed ack is no loss: the message comes again, settled."""

    def __init__(self, hold: Hold, clock: Clock, reporter: Reporter, batch: int) -> None:
        self._hold, self._clock, self._reporter, self._batch = hold, clock, reporter, batch
        self._batchers: dict[tuple[str, bool], Batcher[Held, None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.changed = asyncio.Event()  # set whenever there is more room

    def close(self, finished: Sequence[Held]) -> None:
        """The messages are finished; returns at once."""
        for held in finished:
            if held.again is None or held.foreign or not self._waits(held, held.again):
                self._batcher(held.queue, held.again is None).post(held)

    def give_back(self) -> None:
        """Nothing waits any more: what did goes back to its queue, and so does what follows."""
        waiting = self._hold.waiting
        waiting.closed = True
        for held in list(waiting):
            waiting.leave(held)
            self._batcher(held.queue, ack=False).post(held)

    def _waits(self, held: Held, again: float) -> bool:
        """Whether there is room for it to wait in hand; if not, it goes back for a while that grows."""
        now = self._clock.time()
        away = self._hold.waiting.enter(held, self._clock.monotonic() + max(0.0, again - now))
        if away is None:
            self.changed.set()  # it makes room for another
            return True
        held.again = max(again, now + away)
        return False

    async def drained(self) -> None:
        """Return once every message handed over is acked or released."""
        for batcher in list(self._batchers.values()):
            await batcher.drained()

    def _batcher(self, queue: EventQueue, ack: bool) -> Batcher[Held, None]:
        key = (queue.name, ack)
        if key not in self._batchers:

            async def send(batch: Sequence[Held]) -> list[None]:
                try:
                    await (self._ack(queue, batch) if ack else self._release(queue, batch))
                except QueueError as error:
                    self._reporter.report_queue_failure(queue.name, error)
                for held in batch:
                    self._hold.messages.pop(held, None)
                self.changed.set()
                return [None] * len(batch)

            self._batchers[key] = Batcher(send, self._batch, f"{'ack' if ack else 'release'} {queue.name}")
        return self._batchers[key]

    async def _ack(self, queue: EventQueue, batch: Sequence[Held]) -> None:
        await queue.ack([held.message for held in batch])
        self._reporter.report_acks(queue.name, len(batch))

    async def _release(self, queue: EventQueue, batch: Sequence[Held]) -> None:
        """Grouped by the tenth of a second, so that a store's outage costs few calls."""
        now = self._clock.time()
        delays: dict[float, list[Held]] = {}
        for held in batch:
            delays.setdefault(round(max(0.0, (held.again or now) - now), 1), []).append(held)
        for delay, group in delays.items():
            await queue.release([held.message for held in group], delay)
            self._reporter.report_releases(queue.name, len(group), delay)
