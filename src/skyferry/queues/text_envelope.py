"""Bodies and attributes that a provider's text cannot carry as they are: wrapped on send, unwrapped on receive."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable

import orjson

# XML 1.0, 2.2, without the carriage return, which XML readers turn into a line feed.
TEXT = re.compile(r"[\t\n\u0020-\uD7FF\uE000-\uFFFD\U00010000-\U0010FFFF]+")
WRAPPED = b'{"skyferry-wrapped":'

Pairs = tuple[tuple[str, str], ...]


def text_of(body: bytes) -> str | None:
    """The body as text that goes through as it is, or None."""
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return None
    return text if TEXT.fullmatch(text) and not body.startswith(WRAPPED) else None


def wrap(body: bytes, attributes: Pairs = ()) -> str:
    """The message as plain ASCII; itself where it is plain and has no attributes."""
    text = text_of(body)
    if text is not None and not attributes:
        return text
    return WRAPPED.decode() + orjson.dumps([base64.b64encode(body).decode(), *attributes]).decode() + "}"


def unwrap(text: str) -> tuple[bytes, Pairs]:
    """The inverse of `wrap`; what only looks like its work is left as it is."""
    raw = text.encode("utf-8", "surrogatepass")
    if not raw.startswith(WRAPPED):
        return raw, ()
    try:
        body, *attributes = orjson.loads(raw)["skyferry-wrapped"]
        return base64.b64decode(body, validate=True), _pairs(attributes)
    except (ValueError, TypeError):
        return raw, ()


def _pairs(values: Iterable[Iterable[object]]) -> Pairs:
    return tuple((str(name), str(value)) for name, value in values)
