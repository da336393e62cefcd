"""Recognise the format of a message by its body and attributes alone, whatever the transport."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping

from skyferry.errors import EventError, UnknownFormat
from skyferry.events import azure, b2, foreign, gcs, r2, s3, tigris
from skyferry.events.fields import (
    MAX_BODY,
    UNKNOWN_DELIVERY,
    Delivery,
    Fields,
    Parsed,
    as_fields,
    load_json,
    parse_records,
)
from skyferry.events.native_encoding import MARK

__all__ = ["MAX_BODY", "Parsed", "parse_message"]

_JSON = (b"{", b"[")  # beginnings of JSON that may contain events
_OTHERS: tuple[tuple[Callable[[Fields], bool], Callable[[Fields], Parsed]], ...] = (
    (r2.is_notification, r2.parse_notification),
    (b2.is_notification, b2.parse_notification),
    (tigris.is_notification, tigris.parse_notification),
)
_WRAPS = 3  # envelopes around an event, such as Base64 of an SNS envelope


def parse_message(body: bytes, attributes: Mapping[str, str], delivery: Delivery = UNKNOWN_DELIVERY) -> Parsed:
    """Parse all events of one message. Pure. `delivery` completes notifications without a time.

    Raises EventError (UnknownFormat, InvalidKey), and nothing else, if the message is not an event that Skyferry reads. If only
    some of several records cannot be read, they are in `Parsed.faulty`.
    """
    if len(body) > MAX_BODY:
        raise EventError(f"the message has {len(body):,} bytes", hint=f"send at most {MAX_BODY:,}")
    return _parse(body, attributes, delivery, _WRAPS)


def _parse(body: bytes, attributes: Mapping[str, str], delivery: Delivery, wraps: int) -> Parsed:
    if gcs.is_notification(attributes):
        return gcs.parse_notification(body, attributes)
    if MARK in body and (found := _native(body)):
        return found
    if wraps and (inner := _from_base64(body)):
        return _parse(inner, attributes, delivery, wraps - 1)
    data = load_json(body)
    if not isinstance(data, dict | list):
        raise UnknownFormat("the message is neither a JSON object nor an array")
    fields = Fields(data if isinstance(data, dict) else {})
    if wraps and s3.is_sns(fields):
        return _parse(s3.unwrap_sns(fields), {}, s3.find_delivery(fields) or delivery, wraps - 1)
    if wraps and gcs.is_push(fields):
        return _parse(*gcs.unwrap_push(fields), delivery, wraps - 1)
    try:
        if gcs.is_object_event(attributes):
            return gcs.parse_object_event(Fields(attributes, "attributes"), as_fields(data, "data"))
        return parse_records(data, "", _item) if isinstance(data, list) else _record(fields, body, delivery)
    except EventError as error:
        if hint := foreign.explain(data, attributes):
            raise type(error)(error.message, where=error.where, hint=hint) from error
        raise


def _item(fields: Fields) -> Parsed:
    """Parse an item of an array."""
    return s3.parse_access_entry(fields) if s3.is_access_entry(fields) else _cloud_event(fields)


def _cloud_event(fields: Fields) -> Parsed:
    """Parse an event of Event Grid or Eventarc."""
    return gcs.parse_cloud_event(fields) if gcs.is_cloud_event(fields) else azure.parse_event(fields)


def _record(fields: Fields, body: bytes, delivery: Delivery) -> Parsed:
    if "schemaVersion" in fields:
        return _parse_native(body)
    if s3.is_access_entry(fields):
        return s3.parse_access_entry(fields)
    if s3.is_records(fields):
        return s3.parse_notification(fields, delivery)
    if s3.is_eventbridge(fields):
        return s3.parse_eventbridge(fields)
    for is_notification, parse_notification in _OTHERS:
        if is_notification(fields):
            return parse_notification(fields)
    if azure.is_event(fields):
        return _cloud_event(fields)
    raise UnknownFormat(
        "the message has no known notification format", hint="docs/reference/events.md lists the formats"
    )


def _native(body: bytes) -> Parsed | None:
    """Parse the most frequent format by one validation, without reading the top-level fields first."""
    try:
        return _parse_native(body)
    except EventError:
        data = load_json(body)
        if isinstance(data, dict) and "schemaVersion" in data:
            raise
        return None  # the field is in a nested object


def _parse_native(body: bytes) -> Parsed:
    from skyferry.events.native import parse_event  # a copy of a listing reads no events

    return Parsed((parse_event(body),))


def _from_base64(body: bytes) -> bytes:
    """Decode the Base64 in which Azure wraps events for a Storage Queue. Return b"" if there is none."""
    if body.lstrip()[:1] in _JSON:
        return b""
    try:
        inner = base64.b64decode(body.strip(), validate=True)
    except binascii.Error:
        return b""
    return inner if inner.lstrip()[:1] in _JSON else b""
