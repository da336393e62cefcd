"""Object notifications of Tigris, several in a webhook's body.

Source: https://www.tigrisdata.com/docs/buckets/object-notifications/
"""

from __future__ import annotations

from skyferry.errors import UnknownFormat
from skyferry.events.fields import Fields, Parsed, derive_id, parse_records
from skyferry.model import Change, ObjectEvent, ObjectRef, Provider

_CREATED, _DELETED = "OBJECT_CREATED", "OBJECT_DELETED"


def is_notification(fields: Fields) -> bool:
    """Return True for a webhook's body of Tigris."""
    events = fields.raw.get("events")
    first = events[0] if isinstance(events, list) and events else None
    return isinstance(first, dict) and first.get("eventSource") == "tigris"


def parse_notification(fields: Fields) -> Parsed:
    """Parse the events of one body. Their keys are plain."""
    return parse_records(fields.raw["events"], fields.at("events"), _event, "events")


def _event(fields: Fields) -> Parsed:
    fields.major("eventVersion", "1")
    name, item = fields.text("eventName"), fields.child("object")
    if not name.startswith((_CREATED, _DELETED)):
        raise UnknownFormat(f"{name[:60]!r} is not a known event", where=fields.at("eventName"))
    bucket, key, when = fields.bucket("bucket"), item.key("key"), fields.text("eventTime")
    event_id = derive_id("tigris", bucket, key, name, when, item.optional("eTag"))
    created = name.startswith(_CREATED)
    event = ObjectEvent(
        event_id=event_id,
        change=Change.CREATED if created else Change.DELETED,
        source=ObjectRef(Provider.S3_COMPATIBLE, bucket, key),
        occurred_at=fields.time("eventTime"),
        correlation_id=event_id,
        size=item.whole("size") if created else None,
        format="tigris",
    )
    return Parsed((event,))
