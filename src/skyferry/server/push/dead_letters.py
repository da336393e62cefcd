"""Dead-letter references in pushes: Pub/Sub puts the attributes of a message into the body."""

from __future__ import annotations

import orjson

from skyferry.ports.letter_attributes import LETTER, Pairs


def find_reference(body: bytes) -> Pairs:
    """Return the attribute that names a dead letter, in the form of a queue's attributes; () for any other body."""
    if LETTER.encode() not in body:  # the usual case
        return ()
    try:
        letter = orjson.loads(body)["message"]["attributes"][LETTER]
    except (ValueError, LookupError, TypeError):
        return ()
    return ((LETTER, letter),) if isinstance(letter, str) and letter else ()
