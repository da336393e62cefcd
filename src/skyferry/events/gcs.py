"""Cloud Storage notifications over Pub/Sub: pulled (attributes and data) or pushed (an envelope with both), and Eventarc's events.

Sources: https://cloud.google.com/storage/docs/pubsub-notifications and, for Eventarc's CloudEvents around the object resource,
https://github.com/googleapis/google-cloudevents (StorageObjectData).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import replace

from skyferry.errors import EventError, UnknownFormat
from skyferry.events.fields import Fields, Parsed, as_fields, derive_id, load_json
from skyferry.model import Change, ObjectEvent, ObjectRef, Position, Provider

_CREATED = ("OBJECT_FINALIZE", "OBJECT_METADATA_UPDATE")  # a new metageneration is a change: metadata converge too
_DELETED = ("OBJECT_DELETE", "OBJECT_ARCHIVE")
_IGNORED = ("OBJECT_INITIALIZE",)  # the beginning of an appendable object; its FINALIZE follows
_PAYLOADS = ("JSON_API_V1", "NONE")
_EVENTARC = "google.cloud.storage.object.v1."
_OBJECT_EVENTS = {  # the type of a CloudEvent -> that of a notification
    "finalized": "OBJECT_FINALIZE",
    "metadataUpdated": "OBJECT_METADATA_UPDATE",
    "deleted": "OBJECT_DELETE",
    "archived": "OBJECT_ARCHIVE",
}
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
    payload = _payload(body, fields)
    when = fields.text("eventTime"), fields.time("eventTime")
    bucket, key, generation = fields.bucket("bucketId"), fields.key("objectId"), _generation(fields, "objectGeneration")
    event = _event(name, bucket, key, generation, when, payload)
    overwritten = name in _DELETED and "overwrittenByGeneration" in fields
    return Parsed((replace(event, overwritten=True) if overwritten else event,))


def is_cloud_event(fields: Fields) -> bool:
    """Return True for a CloudEvent of Eventarc (structured mode)."""
    return "specversion" in fields and str(fields.raw.get("type")).startswith(_EVENTARC)


def parse_cloud_event(fields: Fields) -> Parsed:
    """Parse a CloudEvent of Eventarc."""
    fields.major("specversion", "1")
    return _object_event(fields, "type", "time", fields.child("data"))


def is_object_event(attributes: Mapping[str, str]) -> bool:
    """Return True for the attributes of a CloudEvent of Eventarc (binary mode): a message of Pub/Sub, or HTTP headers."""
    return attributes.get("ce-type", "").startswith(_EVENTARC)


def parse_object_event(attributes: Fields, resource: Fields) -> Parsed:
    """Parse a CloudEvent of Eventarc whose data are the body of the message."""
    return _object_event(attributes, "ce-type", "ce-time", resource)


def _object_event(fields: Fields, kind: str, when: str, resource: Fields) -> Parsed:
    name = _OBJECT_EVENTS.get(fields.text(kind).removeprefix(_EVENTARC), "")
    if not name:
        raise UnknownFormat(f"{fields.text(kind)[:60]!r} is not a known event", where=fields.at(kind))
    bucket, key = resource.bucket("bucket"), resource.key("name")
    event = _event(
        name, bucket, key, _generation(resource, "generation"), (fields.text(when), fields.time(when)), resource
    )
    return Parsed((replace(event, format="eventarc"),))


def _event(name: str, bucket: str, key: str, generation: int, when: tuple[str, float], payload: Fields) -> ObjectEvent:
    """`when` is the time of the event, as it is written and in seconds since 1970."""
    metageneration = payload.whole("metageneration")
    position = _position(name, generation, metageneration)
    # An update without its payload has no position: with the generation as version, it would pass for the creation.
    version = str(generation) if position else ""
    event_id = derive_id("gcs", bucket, key, generation, metageneration, name, when[0])
    return ObjectEvent(
        event_id=event_id,
        change=Change.CREATED if name in _CREATED else Change.DELETED,
        source=ObjectRef(Provider.GCP_GCS, bucket, key, version=version),
        occurred_at=when[1],
        correlation_id=event_id,
        position=position,
        size=payload.whole("size"),
        content_type=payload.optional("contentType"),
        format="gcs",
        created_at=payload.time("timeCreated") if payload.optional("timeCreated") else None,
    )


def _generation(fields: Fields, name: str) -> int:
    generation = fields.whole(name)
    if generation is None:
        raise EventError("is required", where=fields.at(name))
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
    for member, attribute in (("bucket", "bucketId"), ("name", "objectId"), ("generation", "objectGeneration")):
        if member in payload and str(payload.raw[member]) != fields.optional(attribute):
            raise EventError(f"contradicts the attribute {attribute}", where=payload.at(member))
    return payload
