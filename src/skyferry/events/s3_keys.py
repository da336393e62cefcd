"""Keys in S3 notifications: encoded as in a form by Amazon and MinIO, plain by others, in one field of one format. Pure.

Amazon: "The object key name value is URL encoded" (S3 User Guide, "Event message structure"). NooBaa and versitygw send the key
as it is, and versitygw calls itself aws:s3.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, NamedTuple
from urllib.parse import unquote_plus

from skyferry.errors import InvalidKey
from skyferry.events.fields import validate_key
from skyferry.model import ObjectEvent
from skyferry.regex import compile_lazily

KeyEncoding = Literal["auto", "encoded", "plain"]
ENCODES, PLAIN = "minio:s3", ("ceph:s3", "scality:s3")  # senders that always encode keys, or never
_UNENCODED = compile_lazily(r"[^!-~]|%(?![0-9A-Fa-f]{2})")  # no encoder leaves these


class KeyReading(NamedTuple):
    """The likely key of a notification."""

    key: str
    sent: str = ""  # the text, if decoding it gives another key
    proven: bool = True  # False: the text may be the key as well


def read_key(text: str, sender: str, where: str) -> KeyReading:
    """Read the key that a sender (`eventSource`) wrote. Raises InvalidKey if neither reading is a key."""
    try:
        decoded = decode_key(text, where)
    except InvalidKey:
        return KeyReading(validate_key(text, where), text)
    if decoded == text:
        return KeyReading(text)
    try:
        validate_key(text, where)
    except InvalidKey:  # three times as long
        return KeyReading(decoded)
    if sender in PLAIN or _UNENCODED.search(text):
        return KeyReading(text, text)
    return KeyReading(decoded, text, sender == ENCODES)


def decode_key(text: str, where: str) -> str:
    """Decode a key: a space is +, a plus %2B. Raises InvalidKey."""
    try:
        return validate_key(unquote_plus(text, errors="strict"), where)
    except UnicodeDecodeError as error:
        raise InvalidKey("is not UTF-8 after decoding", where=where) from error


def apply_encoding(event: ObjectEvent, encoding: KeyEncoding) -> ObjectEvent:
    """Return the event with the reading that its store's `event_keys` demands. Raises InvalidKey."""
    if not event.sent_key or encoding == "auto":
        return event
    key = event.sent_key if encoding == "plain" else decode_key(event.sent_key, "s3.object.key")
    return replace(event, source=replace(event.source, key=key), key_proven=True)


def read_otherwise(event: ObjectEvent) -> ObjectEvent | None:
    """Return the event with the other reading of its key; None if there is only one."""
    if event.key_proven or not event.sent_key:
        return None
    return replace(event, source=replace(event.source, key=event.sent_key), key_proven=True)
