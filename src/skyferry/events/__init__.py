"""Parse the bytes and attributes of messages into events. Each format is recognised by its content. Pure."""

from skyferry.events.detect import parse_message
from skyferry.events.fields import MAX_BODY, Parsed

__all__ = ["MAX_BODY", "Parsed", "parse_message"]
