"""S3 notifications: Amazon's, direct, in an SNS envelope or through EventBridge, and those of MinIO, Ceph and others.

Sources: Amazon S3 user guide, "Event message structure" and "EventBridge event message structure"; SNS developer guide,
"HTTP/HTTPS notification JSON format"; MinIO `internal/event`; Ceph `rgw_notify`.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial

from skyferry.errors import UnknownFormat
from skyferry.events.fields import (
    UNKNOWN_DELIVERY,
    Delivery,
    Fields,
    Parsed,
    derive_id,
    normalise_id,
    parse_records,
    parse_sequencer,
)
from skyferry.events.s3_keys import KeyReading, read_key
from skyferry.model import Change, ObjectEvent, ObjectRef, Position, Provider

_CREATED = ("ObjectCreated:", "ObjectSynced:Create", "Replication:Create")  # the last two: Ceph, from another zone
_TAGGED = ("ObjectTagging:", "Object Tags Added", "Object Tags Deleted")  # what a version carries has changed
_EXPIRED = ("LifecycleExpiration:", "ObjectLifecycle:Expiration:")
_DELETED = ("ObjectRemoved:", "ObjectSynced:Delet", "Replication:Delet", *_EXPIRED)
_IGNORED = (
    "ObjectLifecycle:Expiration:Abort",
    "ObjectLifecycle:Transition:",
    "ObjectRestore:",
    "ObjectAcl:",
    "ObjectAnnotation:",
    "ObjectRetention:",
    "ObjectAccessed:",
    "ObjectTransition:",
    "Replication:Operation",  # the outcome of replicating an object
    "Replication:ObjectFailed",  # the same, of Dell ObjectScale
    "LifecycleTransition",
    "LifecycleDelMarkerExpiration:",
    "IntelligentTiering",
    "ReducedRedundancyLostObject",
    "BucketCreated:",
    "BucketRemoved:",
    "Scanner:",
    "ILM:",
)
_TEST = "s3:TestEvent"
# Versions of Amazon are 2.x; Wasabi and older Scality write 0.1, Scality 1.0.
_MAJOR = ("0", "1", "2")
# Properties of an object other than its content. Amazon adds to them; each change of content is Object Created or Object Deleted.
_BRIDGE_IGNORED = re.compile(
    r"Object (Restore|Storage Class|Access Tier|ACL|Annotations?|Retention|Legal Hold|Lock|Encryption) [A-Z][a-z]+"
)


def is_sns(fields: Fields) -> bool:
    """Return True for the envelope that SNS adds unless raw message delivery is on."""
    return fields.raw.get("Type") in ("Notification", "SubscriptionConfirmation", "UnsubscribeConfirmation")


def unwrap_sns(fields: Fields) -> bytes:
    """Return the message in the envelope. Raises UnknownFormat for a confirmation of a subscription or of its end."""
    kind = fields.raw["Type"]
    if kind != "Notification":
        ended = "the topic sends nothing more; if that was not intended, open its SubscribeURL to subscribe again"
        hint = ended if kind == "UnsubscribeConfirmation" else "confirm the subscription at its endpoint"
        raise UnknownFormat(f"{kind} is not an event", where="Type", hint=hint)
    return fields.text("Message").encode()


def find_delivery(fields: Fields) -> Delivery | None:
    """Return what the envelope says of the message in it; None if that is not enough."""
    return Delivery(fields.optional("MessageId"), fields.time("Timestamp")) if "Timestamp" in fields else None


def is_records(fields: Fields) -> bool:
    """Return True for S3's records, and for the test message that S3 sends when a notification is configured."""
    return "Records" in fields or fields.raw.get("Event") == _TEST


def parse_notification(fields: Fields, delivery: Delivery = UNKNOWN_DELIVERY) -> Parsed:
    """Parse a direct notification."""
    if "Records" not in fields:
        return Parsed(test=True)
    return parse_records(fields.raw["Records"], fields.at("Records"), partial(_record, delivery), "Records")


def is_access_entry(fields: Fields) -> bool:
    """Return True for an item of the arrays that MinIO pushes to a list of Redis (format=access)."""
    return isinstance(fields.raw.get("Event"), list)


def parse_access_entry(fields: Fields) -> Parsed:
    """Parse such an item, whose records are those of a notification."""
    return parse_records(fields.raw["Event"], fields.at("Event"), partial(_record, UNKNOWN_DELIVERY), "Event")


def is_eventbridge(fields: Fields) -> bool:
    """Return True for an event of EventBridge."""
    return "detail-type" in fields


def parse_eventbridge(fields: Fields) -> Parsed:
    """Parse an event of EventBridge, whose keys are not percent-encoded."""
    if fields.text("source") != "aws.s3":
        raise UnknownFormat("is not aws.s3", where="source", hint="narrow the rule of the event bus")
    fields.major("version", "0")
    name, detail = fields.text("detail-type"), fields.child("detail")
    if _BRIDGE_IGNORED.fullmatch(name):
        return Parsed(ignored=(name,))
    if name not in ("Object Created", "Object Deleted", *_TAGGED):
        raise UnknownFormat(f"{name[:60]!r} is not a known event", where="detail-type")
    if "event-version" in detail:
        detail.major("event-version", "1")
    item, event_id = detail.child("object"), normalise_id(fields.text("id"), "eventbridge")
    ref = ObjectRef(
        Provider.AWS_S3,
        detail.child("bucket").bucket("name"),
        item.key("key"),
        fields.optional("region"),
        "" if name in _TAGGED else _version(item.optional("version-id")),  # its transfer id would be that of the write
    )
    event = ObjectEvent(
        event_id=event_id,
        change=Change.DELETED if name == "Object Deleted" else Change.CREATED,
        source=ref,
        occurred_at=fields.time("time"),
        correlation_id=event_id,
        position=None if name in _TAGGED else parse_sequencer(item.optional("sequencer")),
        size=item.whole("size"),
        expired=detail.optional("reason") == "Lifecycle Expiration",
        format="eventbridge",
    )
    return Parsed((event,))


def _record(delivery: Delivery, record: Fields) -> Parsed:
    if _TEST in (record.raw.get("Event"), record.raw.get("eventName")):  # NooBaa puts its test message into a record
        return Parsed(test=True)
    record.major("eventVersion", *_MAJOR)
    name = record.text("eventName").removeprefix("s3:")  # MinIO and Ceph keep the prefix of the configuration
    if name.startswith(_IGNORED):
        return Parsed(ignored=(name,))
    if not name.startswith((*_CREATED, *_DELETED, *_TAGGED)):
        raise UnknownFormat(f"{name[:60]!r} is not a known event", where=record.at("eventName"))
    item = record.child("s3").child("object")
    reading = read_key(item.text("key"), record.optional("eventSource"), item.at("key"))
    ref = _ref(record, reading)
    untimed = bool(delivery.sent_at) and "eventTime" not in record  # Wasabi
    event_id = _id(record, name, ref, item, delivery.id if untimed else record.text("eventTime"))
    tagged = name.startswith(_TAGGED)
    event = ObjectEvent(
        event_id=event_id,
        change=Change.DELETED if name.startswith(_DELETED) else Change.CREATED,
        source=replace(ref, version="") if tagged else ref,  # the transfer id would be that of the write
        occurred_at=delivery.sent_at if untimed else record.time("eventTime"),
        correlation_id=event_id,
        position=None if tagged else _position(record, item),
        size=item.whole("size"),
        content_type=item.optional("contentType"),  # MinIO
        expired=name.startswith(_EXPIRED),
        format="s3",
        sent_key=reading.sent,
        key_proven=reading.proven,
    )
    return Parsed((event,))


def _ref(record: Fields, reading: KeyReading) -> ObjectRef:
    body = record.child("s3")
    return ObjectRef(
        Provider.AWS_S3 if record.optional("eventSource") == "aws:s3" else Provider.S3_COMPATIBLE,
        body.child("bucket").bucket("name"),
        reading.key,
        record.optional("awsRegion"),
        _version(body.child("object").optional("versionId")),
        endpoint=_endpoint(record),
    )


def _endpoint(record: Fields) -> str:
    """The URL by which MinIO's server knows itself; no other service names any."""
    name = "responseElements"
    return record.child(name).optional("x-minio-origin-endpoint") if name in record else ""


def _id(record: Fields, name: str, ref: ObjectRef, item: Fields, when: str) -> str:
    """Derive the event id from fields that repeat in duplicate deliveries but differ between changes of a key.

    `when` is the time of the event, or the id of the message that brought it.
    """
    request = record.child("responseElements").optional("x-amz-request-id") if "responseElements" in record else ""
    etag = item.optional("eTag") or item.optional("etag")  # older Ceph
    return derive_id("s3", ref.provider, ref.bucket, ref.key, ref.version, name, when, _sequencer(item), etag, request)


def _sequencer(item: Fields) -> str:
    """Return the sequencer as text. NooBaa writes a number."""
    value = item.raw.get("sequencer")
    return str(value) if isinstance(value, int) else item.optional("sequencer")


def _version(text: str) -> str:
    """Return the version, or "" for "null": buckets without versioning overwrite it, so it identifies no content."""
    return "" if text == "null" else text


def _position(record: Fields, item: Fields) -> Position | None:
    """Return Amazon's exact sequencer, or the position on the clock that MinIO and Ceph send instead."""
    if isinstance(item.raw.get("sequencer"), int):
        return None  # its digits are decimal, and what they count is not documented
    text = item.optional("sequencer")
    if record.raw.get("eventSource") == "aws:s3":
        return parse_sequencer(text)
    try:
        raw = bytes.fromhex(text)
    except ValueError:
        return None
    if len(raw) != 8:
        return None
    if record.raw.get("eventSource") == "ceph:s3":  # utime_t in memory: seconds, nanoseconds, little-endian
        return Position.at(int.from_bytes(raw[:4], "little") * 10**9 + int.from_bytes(raw[4:], "little"))
    return Position.at(int.from_bytes(raw, "big"))  # MinIO: nanoseconds
