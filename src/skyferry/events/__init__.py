"""PURE. Bytes and attributes of a message to events; every format is recognised by itself."""

from skyferry.events.detect import parse
from skyferry.events.fields import MAX_BODY, Parsed

__all__ = ["MAX_BODY", "Parsed", "parse"]
