"""Event notifications of Cloudflare R2, one per message of a Cloudflare Queue.

Source: https://developers.cloudflare.com/r2/buckets/event-notifications/
"""

from __future__ import annotations

from skyferry.errors import UnknownFormat
from skyferry.events.fields import Fields, Parsed, derive_id
from skyferry.model import Change, ObjectEvent, ObjectRef, Provider

HOST = "r2.cloudflarestorage.com"  # after the account
_CREATED = ("PutObject", "CopyObject", "CompleteMultipartUpload")
_EXPIRED = "LifecycleDeletion"
_DELETED = ("DeleteObject", _EXPIRED)


def is_notification(fields: Fields) -> bool:
    """Return True for a notification of R2."""
    return all(name in fields for name in ("account", "action", "bucket", "object"))


def parse_notification(fields: Fields) -> Parsed:
    """Parse one notification. Its key is plain."""
    action, account, item = fields.text("action"), fields.text("account"), fields.child("object")
    if action not in _CREATED + _DELETED:
        raise UnknownFormat(f"{action[:60]!r} is not a known event", where=fields.at("action"))
    bucket, key, when = fields.bucket("bucket"), item.key("key"), fields.text("eventTime")
    event_id = derive_id("r2", account, bucket, key, action, when, item.optional("eTag"))
    event = ObjectEvent(
        event_id=event_id,
        change=Change.CREATED if action in _CREATED else Change.DELETED,
        source=ObjectRef(Provider.S3_COMPATIBLE, bucket, key, endpoint=f"https://{account}.{HOST}"),
        occurred_at=fields.time("eventTime"),
        correlation_id=event_id,
        size=item.whole("size"),
        expired=action == _EXPIRED,
        format="r2",
    )
    return Parsed((event,))
