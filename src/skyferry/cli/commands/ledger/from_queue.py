"""`skyferry dead-letters redrive --from-queue`: redrive dead letters from the dead-letter queue."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from skyferry.cli import resources
from skyferry.cli.arguments.options import ConfigOptions
from skyferry.cli.commands.ledger.selection import complete_letters, find_missing
from skyferry.errors import ConfigError
from skyferry.ports import Filter, Message, Outgoing, letter_attributes
from skyferry.ports.ledger.dead_letters import parse_source_key

if TYPE_CHECKING:
    from skyferry.config.settings import Settings
    from skyferry.engine.dead_letters.redrive import RedriveCounts
    from skyferry.ports import EventQueue


async def redrive_from_queue(
    at: ConfigOptions, where: Filter, given: Sequence[str] | None, limit: int
) -> tuple[RedriveCounts, list[str]]:
    """Redrive at most `limit` matching letters. Return also the ids of `given` that were not in the queue.

    The ledger completes abbreviated ids of the letters that it knows. Raises ConfigError, QueueError or LedgerError.
    """
    from skyferry.engine.dead_letters.redrive import DeadLetterRedriver
    from skyferry.wiring import Opener

    settings = at.load()
    opener = Opener(settings)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(opener.close)
        if (source := opener.dead_letters(read=True)) is None:
            raise ConfigError("no dead-letter queue is configured", hint="set `dead_letters`")
        stack.push_async_callback(source.close)
        ledger = await stack.enter_async_context(resources.open_ledger(settings, create=True))
        ids = await complete_letters(ledger, given)
        redriver = DeadLetterRedriver(ledger, source, QueueSender(settings, stack).send, limit)
        found: set[str] = set()

        def is_wanted(message: Message) -> bool:
            if (reference := letter_attributes.parse_reference(message.attributes)) is not None:
                found.add(reference.id)
            return match_attributes(message, where, ids)

        return await redriver.redrive(is_wanted), find_missing(given, ids, found)


class QueueSender:
    """Sends to queues by name, and opens each on first use."""

    def __init__(self, settings: Settings, stack: AsyncExitStack) -> None:
        self._settings, self._stack = settings, stack
        self._opened: dict[str, EventQueue] = {}

    async def send(self, name: str, messages: Sequence[Outgoing]) -> None:
        """Send to the queue `name`, or to the first queue if it does not exist. Raises ConfigError or QueueError."""
        known = next((queue.name for queue in self._settings.queues if queue.name == name), "")
        if known not in self._opened:
            queue = resources.open_queue(self._settings, known or None)
            self._opened[known] = await self._stack.enter_async_context(queue)
        await self._opened[known].send(messages)


def match_attributes(message: Message, where: Filter, ids: Collection[str] | None) -> bool:
    """Return True if the attributes of the message match the selection."""
    reference, attributes = letter_attributes.parse_reference(message.attributes), dict(message.attributes)
    return (
        reference is not None
        and (not ids or reference.id in ids)
        and (not where.route or attributes.get(letter_attributes.ROUTE) == where.route)
        and (not where.reason or attributes.get(letter_attributes.REASON) == where.reason)
        and (not where.source_key or parse_source_key(attributes.get(letter_attributes.SOURCE, "")) == where.source_key)
        and (where.since is None or reference.at >= where.since)
        and (where.until is None or reference.at < where.until)
    )
