"""Writing of native events. Reading them, in `native`, takes a library that is slow to import and seldom needed."""

from __future__ import annotations

from datetime import UTC, datetime

import orjson

from skyferry.errors import EventError
from skyferry.model import ObjectEvent, ObjectRef

MARK = b'"schemaVersion"'  # in each native event


def encode_event(event: ObjectEvent) -> bytes:
    """Invert `native.parse_event`, to the microsecond. Raises EventError for an event of another format."""
    if event.format != "native":
        raise EventError("only a native event can be written as one", where="format")
    source, to, position = event.source, event.destination, event.position
    metadata: dict[str, object] = {
        "contentType": event.content_type,
        "checksumSHA256": event.checksums.sha256,
        "maxRetries": event.max_retries,
        "priority": event.priority,
        "traceparent": event.traceparent,
    }
    fields: dict[str, object] = {
        "schemaVersion": "1.0.0",
        "eventId": event.event_id,
        "correlationId": event.correlation_id or event.event_id,
        "timestamp": datetime.fromtimestamp(event.occurred_at, UTC).isoformat(),
        "eventType": event.change,
        "source": _object(source),
        "destination": _object(to) if to else None,
        "position": str(position) if position else None,
        "size": event.size,
        "metadata": _filled(metadata) or None,
    }
    return orjson.dumps(_filled(fields))


def _object(ref: ObjectRef) -> dict[str, object]:
    fields = {"provider": ref.provider, "bucket": ref.bucket, "key": ref.key}
    return fields | _filled({"region": ref.region, "versionId": ref.version, "account": ref.account})


def _filled(fields: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in fields.items() if value is not None and value != ""}
