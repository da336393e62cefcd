"""How a dead letter travels in a message: by the attributes that are added to those of the message that died."""

from __future__ import annotations

from skyferry.frozen import dataclass

PREFIX = "skyferry-"  # of all that are ours
LETTER = "skyferry-dead-letter"  # the id under which the ledger has the letter
DIED = "skyferry-died-at"  # seconds since 1970, exactly as the ledger has them
ASKED = "skyferry-asked"  # on a message that a person submitted: the destination itself is looked at
FOREIGN = "skyferry-foreign-letter"  # on what was in a letter that this ledger does not have: the id of that letter
QUEUE = "skyferry-queue"  # where the message came from
REASON = "skyferry-reason"
ROUTE = "skyferry-route"
SOURCE = "skyferry-source"
MESSAGE = "skyferry-message"
STORY = "skyferry-story"
Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Death:
    """One death of one letter: what is redriven and dies again has the same id, but another time."""

    id: str
    at: float  # seconds since 1970


def death(attributes: Pairs) -> Death | None:
    """Which death a message tells of; None if of none that a ledger can have. Anybody may have written it."""
    told = dict(attributes)
    name = told.get(LETTER, "")
    try:
        at = float(told.get(DIED, ""))
    except ValueError:
        return None
    sound = name.isascii() and name.isprintable() and 0 < len(name) <= 128 and 0 <= at < 2**40
    return Death(name, at) if sound else None


def marked(attributes: Pairs, letter: str) -> Pairs:
    """Return the attributes of the event's sender, and that they come from a letter which this ledger does not have."""
    return (*arriving(attributes), (FOREIGN, letter[:128]))


def kept(attributes: Pairs) -> Pairs:
    """Return what a new letter keeps of a message: the attributes of the sender, and the mark of a foreign letter."""
    return tuple(pair for pair in attributes if pair[0] == FOREIGN or not pair[0].startswith(PREFIX))


def is_foreign(attributes: Pairs) -> bool:
    """Return True for what was a dead letter of another ledger; it is never sent on again."""
    return any(name == FOREIGN for name, _ in attributes)


def without(attributes: Pairs) -> Pairs:
    """The attributes but for ours."""
    return tuple(pair for pair in attributes if not pair[0].startswith(PREFIX))


def arriving(attributes: Pairs) -> Pairs:
    """The attributes that count of a message from a queue: of ours only that a person asked, which costs a request at most."""
    return tuple(pair for pair in attributes if pair[0] == ASKED or not pair[0].startswith(PREFIX))
