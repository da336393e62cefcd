"""Publish dead letters to a sink. The ledger is the outbox: it knows which letters are not published yet.

A letter is in the ledger before it is published, and marked afterwards: a crash in between publishes it again, and loses
none. While the sink is down the letters stay in the ledger, and nothing else waits for it.

A letter that came from another ledger's letter is not published. Otherwise two deployments that publish to each other's
queues would exchange it for ever.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from skyferry.engine.consume.attempt import Lease, find_lease_end
from skyferry.engine.context import EngineContext
from skyferry.engine.fleet.roles import Confirm, allow
from skyferry.errors import LedgerError, QueueError
from skyferry.ports import DeadLetter, DeadLetterSink, Purpose
from skyferry.ports.letter_attributes import is_foreign
from skyferry.retry import Backoff

POLL = 1.0  # seconds between requests to the ledger
BATCH = 100  # letters in one publish
LEASE = 30.0  # seconds for which a process may publish a letter; then any process may
UNANSWERED = "the queue for dead letters did not answer within the lease of the letters"


class Outbox:
    """Publishes the ledger's letters in batches. Several processes never lease the same letter at once."""

    def __init__(self, context: EngineContext, sink: DeadLetterSink, backoff: Backoff, poll: float = POLL) -> None:
        """`poll` is the time between requests to the ledger, in seconds."""
        self._context, self._sink, self._backoff, self._poll = context, sink, backoff, poll
        self._reporter = context.reporter
        self._size = BATCH
        self._failures = 0
        self._turn = asyncio.Lock()

    async def run(self, confirm: Confirm = allow) -> None:
        """Publish until cancelled. `confirm` is called before each round."""
        while True:
            await confirm()
            await self.flush()
            pause = self._backoff.delay(self._failures, self._context.random.random()) if self._failures else 0.0
            await self._context.clock.sleep(max(self._poll, pause))

    async def flush(self) -> None:
        """Publish what is ready now, up to the first failure. Failed letters go to the end and wait for the next flush."""
        async with self._turn:
            while await self._publish_batch():
                pass

    async def close(self) -> None:
        """Close the sink. Idempotent."""
        await self._sink.close()

    async def _publish_batch(self) -> bool:
        """Publish one batch, and return True if there may be more.

        After a failure a batch is one letter, so that a refused letter blocks no other.
        """
        letters: list[DeadLetter] = []
        try:
            lease = Lease(find_lease_end(self._context.clock, LEASE), self._context.clock.monotonic)
            letters = await self._context.ledger.take_letters(Purpose.PUBLISH, self._size, LEASE)
            if not letters:
                return False
            foreign = [letter for letter in letters if is_foreign(letter.attributes)]
            if own := [letter for letter in letters if not is_foreign(letter.attributes)]:
                lease.ensure_held()
                async with asyncio.timeout(lease.left):
                    await self._sink.publish(own)
            await self._context.ledger.finish_letters(Purpose.PUBLISH, [letter.ref for letter in letters])
        except (QueueError, LedgerError, TimeoutError) as problem:
            error = QueueError(UNANSWERED) if isinstance(problem, TimeoutError) else problem
            self._failures, self._size = self._failures + 1, 1
            self._reporter.report_publish_failure(error)
            if isinstance(error, QueueError):
                with suppress(LedgerError):  # their lease ends by itself
                    refs = [letter.ref for letter in letters]
                    await self._context.ledger.reschedule_letters(Purpose.PUBLISH, refs, 0.0)
            return False
        self._failures, self._size = 0, min(BATCH, 2 * self._size)
        if own:
            self._reporter.report_published(own)
        if foreign:
            self._reporter.report_foreign_letters(foreign)
        return True
