"""An envelope for bodies and attributes that the text of a provider's message cannot carry, and attributes as JSON.

Both may come from any program that can write to the queue: whatever they are, a receive returns the message.
"""

from __future__ import annotations

import base64
import re

import orjson

# XML 1.0, 2.2, without the carriage return, which XML readers turn into a line feed.
TEXT = re.compile(r"[\t\n\u0020-\uD7FF\uE000-\uFFFD\U00010000-\U0010FFFF]+")
WRAPPED = b'{"skyferry-wrapped":'

Pairs = tuple[tuple[str, str], ...]


def text_of(body: bytes) -> str | None:
    """Return the body as text if it needs no envelope, else None."""
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return None
    return text if TEXT.fullmatch(text) and not body.startswith(WRAPPED) else None


def wrap(body: bytes, attributes: Pairs = ()) -> str:
    """Return the message in an envelope of ASCII; unchanged if it needs none and has no attributes."""
    text = text_of(body)
    if text is not None and not attributes:
        return text
    return WRAPPED.decode() + orjson.dumps([base64.b64encode(body).decode(), *attributes]).decode() + "}"


def unwrap(text: str) -> tuple[bytes, Pairs]:
    """Invert `wrap`. A malformed envelope is returned unchanged."""
    raw = text.encode("utf-8", "surrogatepass")
    if not raw.startswith(WRAPPED):
        return raw, ()
    try:
        body, *attributes = orjson.loads(raw)["skyferry-wrapped"]
        return base64.b64decode(body, validate=True), _require_pairs(attributes)
    except (ValueError, TypeError):
        return raw, ()


def parse_attributes(text: str | bytes) -> Pairs:
    """Parse `[[name, value], ...]`. Return () if another program wrote something else."""
    try:
        return _require_pairs(orjson.loads(text))
    except (ValueError, TypeError):
        return ()


def _require_pairs(values: object) -> Pairs:
    """Return pairs of texts. Raise ValueError for other values, which `str` could not convert if they are nested deeply."""
    if not isinstance(values, list) or not all(map(_is_pair, values)):
        raise ValueError("no pairs of texts")
    return tuple((name, value) for name, value in values)


def _is_pair(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(isinstance(each, str) for each in value)
