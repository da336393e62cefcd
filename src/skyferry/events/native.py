"""The native event, version 1, written by Skyferry's tools and by senders without a cloud. See `docs/reference/events.md`.

`NativeEvent` is the single source of the validation and of the JSON Schema.
"""

from __future__ import annotations

import base64
import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from skyferry.errors import EventError, InvalidKey, UnknownFormat
from skyferry.events.fields import (
    BUCKET,
    MAX_KEY,
    MAX_SIZE,
    TIMESTAMP,
    UUID,
    parse_sequencer,
    parse_timestamp,
    validate_key,
)
from skyferry.events.native_encoding import encode_event as encode_event
from skyferry.model import Change, Checksums, ObjectEvent, ObjectRef, Position, Priority, Provider

MAX_EVENT = 64 * 1024  # bytes; known fields need at most half, and validating unknown ones takes 100 times their length
_POSITION = (
    r"^(s3-sequencer:[0-9A-Fa-f]{1,64}|gcs-generation:[0-9]{1,20}\.[0-9]{1,20}"
    r"|azure-sequencer:[!-~]{1,128}|time:[0-9]{1,20})$"
)
_SHA256 = r"^([0-9A-Fa-f]{64}|[0-9A-Za-z+/]{43}=)$"
_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


def _whole(value: object) -> object:
    """Convert 3.0 to 3, as JSON Schema counts it as an integer."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


_Text = Annotated[str, Field(max_length=1024)]
_Uuid = Annotated[str, Field(pattern=UUID, max_length=36)]
_Key = Annotated[
    str, Field(min_length=1, max_length=MAX_KEY, pattern=r"^[^\x00]*$", json_schema_extra={"format": "object-key"})
]


class _Part(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, extra="ignore", strict=True, defer_build=True)


class NativeObject(_Part):
    """One object, or one version of it."""

    provider: Annotated[Provider, Field(strict=False, description="The kind of service that keeps the bucket.")]
    bucket: str = Field(pattern=BUCKET, max_length=255, description="The bucket's, container's or folder's name.")
    key: _Key = Field(description="At most 1,024 bytes of UTF-8, not percent-encoded.")
    region: _Text | None = None
    version_id: _Text | None = Field(None, description="Version id or generation; default: the newest.")
    account: _Text | None = Field(
        None,
        description="Where two stores have one bucket name: the storage account, or host and port of the S3 endpoint.",
    )


class NativeMetadata(_Part):
    """Properties of the object and wishes for its transfer."""

    content_type: _Text | None = None
    checksum_sha256: str | None = Field(
        None, alias="checksumSHA256", pattern=_SHA256, description="Digest of the whole content, hexadecimal or Base64."
    )
    max_retries: Annotated[int, Field(ge=0, le=10), BeforeValidator(_whole)] | None = Field(
        None, description="Attempts after the first; default: as configured (3)."
    )
    priority: Annotated[Priority, Field(strict=False)] | None = Field(None, description="Default: the route's.")
    traceparent: str | None = Field(None, description="W3C trace context; ignored if malformed.")


class NativeEvent(_Part):
    """One change of an object. Unknown fields are ignored."""

    schema_version: str = Field(pattern=r"^1\.[0-9]{1,9}(\.[0-9]{1,9})?$", max_length=24, description="1.x")
    event_id: _Uuid = Field(description="Identifies the event; every delivery of it repeats the id.")
    correlation_id: _Uuid = Field(description="Connects everything that belongs to one request of the sender.")
    timestamp: str = Field(
        pattern=TIMESTAMP,
        max_length=35,
        description="Time of the change, RFC 3339.",
        json_schema_extra={"format": "date-time"},
    )
    source: NativeObject
    destination: NativeObject | None = Field(None, description="Default: decided by the routes.")
    metadata: NativeMetadata | None = None
    event_type: Literal["created", "deleted"] = Field("created", description="A replaced object counts as created.")
    position: str | None = Field(
        None,
        pattern=_POSITION,
        description="The event's place in the order of its key. Unverified: the source is always looked at.",
    )
    size: Annotated[int, Field(ge=0, le=MAX_SIZE), BeforeValidator(_whole)] | None = Field(
        None, description="Size in bytes, if known; a hint."
    )


def json_schema() -> dict[str, object]:
    """Return the JSON Schema (2020-12) of a native event.

    It expresses all that `parse_event` demands, except the limit of 64 KiB and two formats: `object-key` is at most 1,024 bytes of
    UTF-8, `date-time` is RFC 3339 in the years 2 to 9998.
    """
    schema = NativeEvent.model_json_schema()
    _untitle(schema)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Skyferry event, version 1"} | schema


def parse_event(body: bytes) -> ObjectEvent:
    """Parse one event. Raises UnknownFormat for another major version, InvalidKey, or EventError with the field's path."""
    if len(body) > MAX_EVENT and len(body := body.strip()) > MAX_EVENT:
        raise EventError(f"the event has {len(body):,} bytes", hint=f"send at most {MAX_EVENT:,}")
    try:
        native = NativeEvent.model_validate_json(body)
    except ValidationError as error:
        raise _translated(error) from error
    meta = native.metadata or _NO_METADATA
    destination, position = native.destination, native.position
    return ObjectEvent(
        event_id=native.event_id.lower(),
        change=_CHANGES[native.event_type],
        source=_ref(native.source, "source.key"),
        occurred_at=parse_timestamp(native.timestamp, "timestamp"),
        correlation_id=native.correlation_id.lower(),
        position=_position(position, native.source.provider) if position else None,
        destination=_ref(destination, "destination.key") if destination else None,
        size=native.size,
        checksums=Checksums(sha256=_hexadecimal(meta.checksum_sha256)) if meta.checksum_sha256 else _NO_CHECKSUMS,
        content_type=meta.content_type or "",
        max_retries=meta.max_retries,
        priority=meta.priority,
        traceparent=meta.traceparent if meta.traceparent and _TRACEPARENT.fullmatch(meta.traceparent) else "",
    )


_CHANGES = {"created": Change.CREATED, "deleted": Change.DELETED}
_NO_METADATA, _NO_CHECKSUMS = NativeMetadata(), Checksums()


def _untitle(schema: dict[str, Any]) -> None:
    """Remove the titles, which only repeat the names."""
    schema.pop("title", None)
    for part in schema.values():
        if isinstance(part, dict):
            _untitle(part)


def _ref(native: NativeObject, where: str) -> ObjectRef:
    key = validate_key(native.key, where)
    return ObjectRef(
        native.provider, native.bucket, key, native.region or "", native.version_id or "", native.account or ""
    )


_KINDS = {  # scheme of each provider's positions
    Provider.AWS_S3: "s3-sequencer",
    Provider.S3_COMPATIBLE: "s3-sequencer",
    Provider.GCP_GCS: "gcs-generation",
    Provider.AZURE_BLOB: "azure-sequencer",
    Provider.MEMORY: "gcs-generation",
}


def _position(text: str, provider: Provider) -> Position | None:
    scheme, _, value = text.partition(":")
    if scheme == "time":
        return Position(scheme, value.zfill(20))
    if provider not in _KINDS:  # folders do not number versions, so the position adds nothing
        return None
    if scheme != _KINDS[provider]:
        hint = f"use {_KINDS[provider]}: or time:, or omit the position"
        raise EventError(f"{provider} has no positions of scheme {scheme}", where="position", hint=hint)
    if scheme == "gcs-generation":
        return Position(scheme, ".".join(part.zfill(20) for part in value.split(".")))
    return parse_sequencer(value) if scheme == "s3-sequencer" else Position(scheme, value)


def _hexadecimal(digest: str) -> str:
    return digest.lower() if len(digest) == 64 else base64.b64decode(digest).hex()


_FORMS = {  # complaints in place of a pattern
    "eventId": "must be a UUID",
    "correlationId": "must be a UUID",
    "timestamp": "must be an RFC 3339 timestamp with its offset",
    "bucket": "is not a bucket name",
    "checksumSHA256": "must be a SHA-256, hexadecimal or Base64",
    "position": "must be scheme:value, with a known scheme and a valid value",
}


def _translated(error: ValidationError) -> EventError:
    """Translate the first complaint."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    path, name, missing = ".".join(map(str, first["loc"])), first["loc"][-1:], first["type"] == "missing"
    complaint = _FORMS.get(str(*name), first["msg"]) if first["type"].startswith("string_") else first["msg"]
    if first["type"] == "json_invalid":
        return UnknownFormat(f"the message is not JSON: {complaint}")
    if path == "schemaVersion" and not missing:
        return UnknownFormat("is not a supported version", where=path, hint="send version 1.x, or upgrade Skyferry")
    if name == ("key",) and not missing:
        return InvalidKey("must be 1 to 1,024 bytes of UTF-8 without NUL", where=path)
    return EventError(complaint, where=path, hint="run `skyferry schema` for the expected form")
