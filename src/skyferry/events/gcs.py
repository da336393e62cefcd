"""Cloud Storage notifications over Pub/Sub: pulled (attributes and data) or pushed (an envelope with both).

Source: https://cloud.google.com/storage/docs/pubsub-notifications
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping

from skyferry.errors import EventError, UnknownFormat
from skyferry.events.fields import Fields, Parsed, as_fields, derive_id, load_json
from skyferry.model import Change, ObjectEvent, ObjectRef, Position, Provider

_CREATED = ("OBJECT_FINALIZE", "OBJECT_METADATA_UPDATE")  # a new metageneration is a change: metadata converge too
_DELETED = ("OBJECT_DELETE", "OBJECT_ARCHIVE")
_IGNORED = ("OBJECT_INITIALIZE",)  # the beginning of an appendable object; its FINALIZE follows
_PAYLOADS = ("JSON_API_V1", "NONE")
_LAST = "9" * 20  # sorts after every metageneration


def is_notification(attributes: Mapping[str, str]) -> bool:
    """Return True for the attributes that Cloud Storage sends with every notification."""
    return "eventType" in attributes and ("bucketId" in attributes or "notificationConfig" in attributes)


def is_push(fields: Fields) -> bool:
    """Return True for the envelope of a Pub/Sub push."""
    return isinstance(fields.raw.get("message"), dict) and (
        "subscription" in fields or "messageId" in fields.child("message")
    )


def unwrap_push(fields: Fields) -> tuple[bytes, Mapping[str, str]]:
    """Return data and attributes of the message in the envelope."""
    message = fields.child("message")
    attributes = message.child("attributes") if "attributes" in message else Fields({}, "message.attributes")
    texts = {name: attributes.optional(name) for name in attributes.raw}
    try:
        return base64.b64decode(message.optional("data"), validate=True), texts
    except (binascii.Error, ValueError) as error:
        raise EventError("is not Base64", where="message.data") from error


def parse_notification(body: bytes, attributes: Mapping[str, str]) -> Parsed:
    """Parse one notification."""
    fields = Fields(attributes, "attributes")
    name = fields.text("eventType")
    if name in _IGNORED:
        return Parsed(ignored=(name,))
    if name not in _CREATED + _DELETED:
        raise UnknownFormat(f"{name[:60]!r} is not a known event", where=fields.at("eventType"))
    return Parsed((_event(name, fields, _payload(body, fields)),))


def _event(name: str, fields: Fields, payload: Fields) -> ObjectEvent:
    bucket, key, when = fields.bucket("bucketId"), fields.key("objectId"), fields.text("eventTime")
    generation, metageneration = _generation(fields), payload.whole("metageneration")
    position = _position(name, generation, metageneration)
    # An update without its payload has no position: with the generation as version, it would pass for the creation.
    version = str(generation) if position else ""
    event_id = derive_id("gcs", bucket, key, generation, metageneration, name, when)
    return ObjectEvent(
        event_id=event_id,
        change=Change.CREATED if name in _CREATED else Change.DELETED,
        source=ObjectRef(Provider.GCP_GCS, bucket, key, version=version),
        occurred_at=fields.time("eventTime"),
        correlation_id=event_id,
        position=position,
        size=payload.whole("size"),
        content_type=payload.optional("contentType"),
        overwritten=name in _DELETED and "overwrittenByGeneration" in fields,
        format="gcs",
        created_at=payload.time("timeCreated") if payload.optional("timeCreated") else None,
    )


def _generation(fields: Fields) -> int:
    generation = fields.whole("objectGeneration")
    if generation is None:
        raise EventError("is required", where=fields.at("objectGeneration"))
    return generation


def _position(name: str, generation: int, metageneration: int | None) -> Position | None:
    """Place the end of a generation after all its metagenerations and before the next generation."""
    if name in _DELETED:
        return Position("gcs-generation", f"{generation:020d}.{_LAST}")
    if metageneration is None and name == "OBJECT_FINALIZE":
        metageneration = 1
    return None if metageneration is None else Position("gcs-generation", f"{generation:020d}.{metageneration:020d}")


def _payload(body: bytes, fields: Fields) -> Fields:
    """Return the object resource, or an empty one if the notification has none.

    Its checksums are not used: by the time of the copy, another generation may have replaced the event's.
    """
    form = fields.text("payloadFormat")
    if form not in _PAYLOADS:
        raise UnknownFormat(f"{form[:60]!r} is not a known payload", where=fields.at("payloadFormat"))
    if form == "NONE" or not body:
        return Fields({}, "payload")
    payload = as_fields(load_json(body), "payload")
    for mine, theirs in (("bucket", "bucketId"), ("name", "objectId"), ("generation", "objectGeneration")):
        if mine in payload and str(payload.raw[mine]) != fields.optional(theirs):
            raise EventError(f"contradicts the attribute {theirs}", where=payload.at(mine))
    return payload
