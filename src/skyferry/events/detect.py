"""Recognise the format of a message by its body and attributes alone, whatever the transport."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping

from skyferry.errors import EventError, UnknownFormat
from skyferry.events import azure, foreign, gcs, native, s3
from skyferry.events.fields import MAX_BODY, Fields, Parsed, load_json, parse_records

__all__ = ["MAX_BODY", "Parsed", "parse_message"]

_JSON = (b"{", b"[")  # beginnings of JSON that may contain events
_WRAPS = 3  # envelopes around an event, such as Base64 of an SNS envelope


def parse_message(body: bytes, attributes: Mapping[str, str]) -> Parsed:
    """Parse all events of one message. Pure.

    Raises EventError (UnknownFormat, InvalidKey), and nothing else, if the message is not an event that Skyferry reads. If only
    some of several records cannot be read, they are in `Parsed.faulty`.
    """
    if len(body) > MAX_BODY:
        raise EventError(f"the message has {len(body):,} bytes", hint=f"send at most {MAX_BODY:,}")
    return _parse(body, attributes, _WRAPS)


def _parse(body: bytes, attributes: Mapping[str, str], wraps: int) -> Parsed:
    if gcs.is_notification(attributes):
        return gcs.parse_notification(body, attributes)
    if native.MARK in body and (found := _native(body)):
        return found
    if wraps and (inner := _from_base64(body)):
        return _parse(inner, attributes, wraps - 1)
    data = load_json(body)
    if not isinstance(data, dict | list):
        raise UnknownFormat("the message is neither a JSON object nor an array")
    fields = Fields(data if isinstance(data, dict) else {})
    if wraps and s3.is_sns(fields):
        return _parse(s3.unwrap_sns(fields), {}, wraps - 1)
    if wraps and gcs.is_push(fields):
        return _parse(*gcs.unwrap_push(fields), wraps - 1)
    try:
        return parse_records(data, "", azure.parse_event) if isinstance(data, list) else _record(fields, body)
    except EventError as error:
        if hint := foreign.explain(data, attributes):
            raise type(error)(error.message, where=error.where, hint=hint) from error
        raise


def _record(fields: Fields, body: bytes) -> Parsed:
    if "schemaVersion" in fields:
        return Parsed((native.parse_event(body),))
    if s3.is_records(fields):
        return s3.parse_notification(fields)
    if s3.is_eventbridge(fields):
        return s3.parse_eventbridge(fields)
    if azure.is_event(fields):
        return azure.parse_event(fields)
    raise UnknownFormat(
        "the message has no known notification format", hint="docs/reference/events.md lists the formats"
    )


def _native(body: bytes) -> Parsed | None:
    """Parse the most frequent format by one validation, without reading the top-level fields first."""
    try:
        return Parsed((native.parse_event(body),))
    except EventError:
        data = load_json(body)
        if isinstance(data, dict) and "schemaVersion" in data:
            raise
        return None  # the field is in a nested object


def _from_base64(body: bytes) -> bytes:
    """Decode the Base64 in which Azure wraps events for a Storage Queue. Return b"" if there is none."""
    if body.lstrip()[:1] in _JSON:
        return b""
    try:
        inner = base64.b64decode(body.strip(), validate=True)
    except binascii.Error:
        return b""
    return inner if inner.lstrip()[:1] in _JSON else b""
