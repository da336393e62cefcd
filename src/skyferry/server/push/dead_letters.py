"""Dead letters in the envelope of a push: Pub/Sub puts the attributes of a message into the body."""

from __future__ import annotations

import orjson

from skyferry.ports.letters import LETTER, Pairs


def carried(body: bytes) -> Pairs:
    """Return the attribute that names a dead letter, as a queue would have brought it; () for any other body."""
    if LETTER.encode() not in body:  # nearly always
        return ()
    try:
        letter = orjson.loads(body)["message"]["attributes"][LETTER]
    except (ValueError, LookupError, TypeError):
        return ()
    return ((LETTER, letter),) if isinstance(letter, str) and letter else ()
