"""Event notifications of Backblaze B2, up to fifty in a webhook's body.

Source: https://www.backblaze.com/docs/cloud-storage-event-notifications-reference-guide
"""

from __future__ import annotations

from skyferry.errors import EventError, UnknownFormat
from skyferry.events.fields import Fields, Parsed, normalise_id, parse_records
from skyferry.model import Change, ObjectEvent, ObjectRef, Provider

_PREFIX = "b2:"
_CREATED = "ObjectCreated:"
_DELETED = ("ObjectDeleted:", "HideMarkerCreated:")  # the first concerns one version, so the object may be there still
_EXPIRED = ":LifecycleRule"
_IGNORED = "MultipartUploadCreated:"
_TEST = "TestEvent"
_LATEST = 253402214400000  # the end of the year 9998, in milliseconds since 1970


def is_notification(fields: Fields) -> bool:
    """Return True for a webhook's body of B2."""
    events = fields.raw.get("events")
    first = events[0] if isinstance(events, list) and events else None
    return isinstance(first, dict) and str(first.get("eventType")).startswith(_PREFIX)


def parse_notification(fields: Fields) -> Parsed:
    """Parse the events of one body."""
    return parse_records(fields.raw["events"], fields.at("events"), _event, "events")


def _event(fields: Fields) -> Parsed:
    name = fields.text("eventType").removeprefix(_PREFIX)
    if name == _TEST:
        return Parsed(test=True)
    if name.startswith(_IGNORED):
        return Parsed(ignored=(name,))
    if not name.startswith((_CREATED, *_DELETED)):
        raise UnknownFormat(f"{name[:60]!r} is not a known event", where=fields.at("eventType"))
    created = name.startswith(_CREATED)
    version = fields.optional("objectVersionId") if created else ""
    event_id = normalise_id(fields.text("eventId"), "b2", fields.optional("accountId"))
    event = ObjectEvent(
        event_id=event_id,
        change=Change.CREATED if created else Change.DELETED,
        source=ObjectRef(
            Provider.S3_COMPATIBLE, fields.bucket("bucketName"), fields.key("objectName"), version=version
        ),
        occurred_at=_time(fields),
        correlation_id=event_id,
        size=fields.whole("objectSize") if created else None,
        expired=not created and name.endswith(_EXPIRED),
        format="b2",
    )
    return Parsed((event,))


def _time(fields: Fields) -> float:
    """Return the time of the event, which is in milliseconds."""
    milliseconds = fields.whole("eventTimestamp")
    if milliseconds is None or milliseconds > _LATEST:
        raise EventError("must be a time in milliseconds since 1970", where=fields.at("eventTimestamp"))
    return milliseconds / 1000
