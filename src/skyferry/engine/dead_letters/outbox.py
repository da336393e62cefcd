"""Dead letters on their way to where they are sent too. The ledger is the outbox: it knows which were not sent yet.

A letter is in the ledger before it is sent, and marked after it: a crash in between sends it again, none is lost. While
the sink is down the letters stay where they are, and nobody waits for it.

A letter that came out of a letter of another ledger is not sent: two deployments that send their letters to each other's
queues would do so for ever.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from skyferry.engine.context import EngineContext
from skyferry.errors import LedgerError, QueueError
from skyferry.ports import DeadLetter, DeadLetterSink
from skyferry.ports.letters import is_foreign
from skyferry.retry import Backoff

POLL = 1.0  # seconds between looks at the ledger
BATCH = 100  # letters at once
LEASE = 30.0  # seconds that a letter is ours to send; then it comes again, to whoever asks


class Outbox:
    """Sends on what the ledger has, batch by batch. Of several processes, each letter is in the hands of one."""

    def __init__(self, context: EngineContext, sink: DeadLetterSink, backoff: Backoff) -> None:
        self._context, self._sink, self._backoff = context, sink, backoff
        self._reporter = context.reporter
        self._size = BATCH
        self._failures = 0
        self._turn = asyncio.Lock()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self.flush()
            pause = self._backoff.delay(self._failures, self._context.random.random()) if self._failures else 0.0
            await self._context.clock.sleep(max(POLL, pause))

    async def flush(self) -> None:
        """Send what is ready now, up to the first failure; what failed waits for the next time, behind the others."""
        async with self._turn:
            while await self._once():
                pass

    async def close(self) -> None:
        """Close the sink. Idempotent."""
        await self._sink.close()

    async def _once(self) -> bool:
        """Whether there may be more. After a failure they go one by one, so that one that is refused holds up no other."""
        letters: list[DeadLetter] = []
        try:
            letters = await self._context.ledger.take_unpublished(self._size, LEASE)
            if not letters:
                return False
            foreign = [letter for letter in letters if is_foreign(letter.attributes)]
            if own := [letter for letter in letters if not is_foreign(letter.attributes)]:
                await self._sink.publish(own)
            await self._context.ledger.published(letters)
        except (QueueError, LedgerError) as error:
            self._failures, self._size = self._failures + 1, 1
            self._reporter.report_publish_failure(error)
            if isinstance(error, QueueError):
                with suppress(LedgerError):  # then their lease runs out
                    await self._context.ledger.published(letters, self._context.clock.time())
            return False
        self._failures, self._size = 0, min(BATCH, 2 * self._size)
        if own:
            self._reporter.report_published(own)
        if foreign:
            self._reporter.report_foreign_letters(foreign)
        return True
