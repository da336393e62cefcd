"""Attributes of a message that carries a dead letter. They are added to the attributes of the message that died."""

from __future__ import annotations

from skyferry.ports.ledger.dead_letters import DeadLetterRef

PREFIX = "skyferry-"  # of every attribute that Skyferry adds
LETTER = "skyferry-dead-letter"  # the id of the letter in its ledger
DIED = "skyferry-died-at"  # seconds since 1970, exactly as in the ledger
ASKED = "skyferry-asked"  # on a message that a person submitted: the worker checks the destination itself
FOREIGN = "skyferry-foreign-letter"  # id of a letter that this ledger does not have; on the message it contained
QUEUE = "skyferry-queue"  # where the message came from
REASON = "skyferry-reason"
ROUTE = "skyferry-route"
SOURCE = "skyferry-source"
MESSAGE = "skyferry-message"
STORY = "skyferry-story"
Pairs = tuple[tuple[str, str], ...]


def parse_reference(attributes: Pairs) -> DeadLetterRef | None:
    """Parse the dead-letter reference from message attributes. Return None if it is absent or malformed.

    Attributes are untrusted input.
    """
    values = dict(attributes)
    name = values.get(LETTER, "")
    try:
        at = float(values.get(DIED, ""))
    except ValueError:
        return None
    valid = name.isascii() and name.isprintable() and 0 < len(name) <= 128 and 0 <= at < 2**40
    return DeadLetterRef(name, at) if valid else None


def mark_foreign(attributes: Pairs, letter: str) -> Pairs:
    """Return the sender's attributes with the mark of a letter that this ledger does not have."""
    return (*strip_untrusted(attributes), (FOREIGN, letter[:128]))


def is_foreign(attributes: Pairs) -> bool:
    """Return True for a message from a dead letter of another ledger. Its own letter is never published."""
    return any(name == FOREIGN for name, _ in attributes)


def keep_for_letter(attributes: Pairs) -> Pairs:
    """Return the attributes that a new letter keeps: the sender's, and the mark of a foreign letter."""
    return tuple(pair for pair in attributes if pair[0] == FOREIGN or not pair[0].startswith(PREFIX))


def strip_own(attributes: Pairs) -> Pairs:
    """Return the attributes without those that Skyferry adds."""
    return tuple(pair for pair in attributes if not pair[0].startswith(PREFIX))


def strip_untrusted(attributes: Pairs) -> Pairs:
    """Return the attributes that are honoured on a message from a queue: the sender's, and `ASKED`.

    A forged `ASKED` costs one request at most.
    """
    return tuple(pair for pair in attributes if pair[0] == ASKED or not pair[0].startswith(PREFIX))
