"""Intercept dead letters that arrive in a queue: a provider, or a person, moved them back to it.

A message that names the death of a letter redrives this letter once, if the ledger still has that death with the same
body. If the letter has been redriven or has died again since, the message is stale: a copy of work that is done. Both
kinds are acknowledged, because the ledger has the letter. Every other message is processed by its content.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from skyferry.engine.telemetry import Reporter
from skyferry.errors import LedgerError, QueueError
from skyferry.frozen import dataclass
from skyferry.ports import DeadLetters, EventQueue, Filter, Message, letter_attributes
from skyferry.ports.decorators import QueueDecorator

MOMENT = 2.0**-20  # seconds, less than the time between two deaths of one letter
RETRY = 1.0  # seconds after which messages are delivered again if the ledger fails


@dataclass(frozen=True, slots=True)
class Redelivery:
    """The outcome of redriving the letters that messages name."""

    redriven: list[Message]  # their letters will be processed again
    stale: list[Message]  # their letters were redriven, or died again, since
    unknown: list[Message]  # the ledger has no such letter: nothing was done


async def redrive_returned(ledger: DeadLetters, messages: Sequence[Message]) -> Redelivery:
    """Redrive the letters that these messages name; durable on return. Raises LedgerError."""
    answers = await asyncio.gather(*(_redrive_one(ledger, message) for message in messages))
    found = Redelivery([], [], [])
    for message, answer in zip(messages, answers, strict=True):
        {True: found.redriven, False: found.stale, None: found.unknown}[answer].append(message)
    return found


async def _redrive_one(ledger: DeadLetters, message: Message) -> bool | None:
    if (died := letter_attributes.parse_reference(message.attributes)) is None:
        return None
    letter = await ledger.get_dead_letter(died.id)
    if letter is None or letter.body != message.body:
        return None
    return await ledger.redrive(Filter(since=died.at, until=died.at + MOMENT), [died.id]) > 0


def _visible_attributes(attributes: letter_attributes.Pairs) -> letter_attributes.Pairs:
    """Return the attributes that the worker may see."""
    given = dict(attributes)
    letter = given.get(letter_attributes.LETTER) or given.get(letter_attributes.FOREIGN)
    return (
        letter_attributes.mark_foreign(attributes, letter) if letter else letter_attributes.strip_untrusted(attributes)
    )


class InterceptingQueue(QueueDecorator):
    """An EventQueue that redrives the dead letters it receives, instead of passing them to the worker.

    It removes all of Skyferry's attributes from messages: those that the worker sees were set by this process. A letter
    that the ledger does not have is marked with `letter_attributes.FOREIGN`; if it dies here as well, it is not published.
    """

    def __init__(self, queue: EventQueue, ledger: DeadLetters, reporter: Reporter) -> None:
        super().__init__(queue)
        self._ledger, self._reporter = ledger, reporter

    async def receive(self, limit: int, wait: float) -> list[Message]:
        """See `EventQueue.receive`. Raises LedgerError, too."""
        messages = await self.inner.receive(limit, wait)
        named = [m for m in messages if m.attributes]
        marked = [m for m in named if any(name.startswith(letter_attributes.PREFIX) for name, _ in m.attributes)]
        if not marked:
            return messages
        try:
            found = await redrive_returned(self._ledger, marked)
        except LedgerError:
            await self.inner.release(messages, RETRY)
            raise
        await self._ack_redelivery(found)
        done = {m.id for m in (*found.redriven, *found.stale)}  # receipts need not be unique, at Azure
        return [replace(m, attributes=_visible_attributes(m.attributes)) for m in messages if m.id not in done]

    async def _ack_redelivery(self, found: Redelivery) -> None:
        if not (done := [*found.redriven, *found.stale]):
            return
        self._reporter.report_redelivery(self.name, "redriven", found.redriven)
        self._reporter.report_redelivery(self.name, "stale", found.stale)
        try:
            await self.inner.ack(done)
        except QueueError as error:  # they are delivered again, and are stale then
            self._reporter.report_queue_failure(self.name, error)
