"""Blob Storage events from Event Grid, in its own schema or as CloudEvents 1.0.

Source: https://learn.microsoft.com/azure/event-grid/event-schema-blob-storage
"""

from __future__ import annotations

import re
from urllib.parse import unquote

from skyferry.errors import EventError, InvalidKey, UnknownFormat
from skyferry.events.fields import Fields, Parsed, derive_id, normalise_id, validate_bucket, validate_key
from skyferry.frozen import dataclass
from skyferry.model import Change, ObjectEvent, ObjectRef, Position, Provider

_STORAGE = "Microsoft.Storage."
_IGNORED = frozenset(
    {
        "BlobTierChanged",
        "AsyncOperationInitiated",
        "BlobInventoryPolicyCompleted",
        "LifecyclePolicyCompleted",
        "DirectoryCreated",
        "StorageTaskQueued",
        "StorageTaskCompleted",
        "StorageTaskAssignmentQueued",
        "StorageTaskAssignmentCompleted",
    }
)
# A file that is not whole yet: FlushWithClose or SftpCommit announces its content.
_BEGUN = ("CreateFile", "SftpCreate", "SftpWrite")
_NO_SOURCE = "BlobRenamed:no sourceUrl"  # the new name is copied; the copy of the old name is not known
_SUBJECT = re.compile(r"/?blobServices/default/containers/([^/]+)/blobs/(.+)", re.DOTALL)
_ACCOUNT = re.compile(r"/providers/Microsoft\.Storage/storageAccounts/([^/]+)/*", re.IGNORECASE)
_HOST = re.compile(r"https?://([a-z0-9]+)(?:-secondary)?\.(?:blob|dfs)\.core\.[^/]+/", re.IGNORECASE)
_SEQUENCER = re.compile(r"[!-~]{1,128}")


@dataclass(frozen=True, slots=True)
class _Envelope:
    """The fields that both schemas have under different names."""

    name: str  # without Microsoft.Storage.
    id: str
    time: float
    account: str  # "" = unknown
    bucket: str
    key: str
    data: Fields
    format: str


def is_event(fields: Fields) -> bool:
    """Return True if the object may be an event of Event Grid."""
    return "specversion" in fields or "eventType" in fields


def parse_event(fields: Fields) -> Parsed:
    """Parse one event."""
    cloud = "specversion" in fields
    if cloud:
        fields.major("specversion", "1")
    kind, when = ("type", "time") if cloud else ("eventType", "eventTime")
    full, data = fields.text(kind), fields.child("data")
    name = full.removeprefix(_STORAGE)
    if name == full:
        raise UnknownFormat(f"{full[:60]!r} is not an event of Blob Storage", where=fields.at(kind))
    if ignored := _ignored(name, data, fields.at(kind)):
        return Parsed(ignored=(ignored,))
    bucket, key = _subject(fields)
    origin = fields.optional("source" if cloud else "topic")
    envelope = _Envelope(
        name=name,
        id=normalise_id(fields.text("id"), "azure", origin),
        time=fields.time(when),
        account=_account(origin, data.optional("url")),
        bucket=bucket,
        key=key,
        data=data,
        format="cloudevents" if cloud else "azure",
    )
    if name != "BlobRenamed":
        return Parsed((_event(envelope),))
    if data.optional("sourceUrl"):
        return Parsed(_renamed(envelope))
    return Parsed((_event(envelope),), ignored=(_NO_SOURCE,))


def _ignored(name: str, data: Fields, where: str) -> str:
    """Return the name of a notification that does not concern content, or "".

    Raises EventError for a change of many objects that the notification does not list.
    """
    if name == "DirectoryRenamed" or (name == "DirectoryDeleted" and str(data.raw.get("recursive")).lower() == "true"):
        raise EventError(
            f"{name} concerns all blobs below, but lists none", where=where, hint="submit an event for each of them"
        )
    if name in _IGNORED or name == "DirectoryDeleted":
        return name
    if name not in ("BlobCreated", "BlobDeleted", "BlobRenamed"):
        raise UnknownFormat(f"{name[:60]!r} is not a known event", where=where)
    api = data.optional("api")
    return f"{name}:{api}" if name == "BlobCreated" and api in _BEGUN else ""


def _subject(fields: Fields) -> tuple[str, str]:
    """Return container and blob name. Neither is percent-encoded."""
    where = fields.at("subject")
    match = _SUBJECT.fullmatch(fields.text("subject"))
    if not match:
        raise EventError("must be /blobServices/default/containers/CONTAINER/blobs/NAME", where=where)
    return validate_bucket(match[1], where), validate_key(match[2], where)


def _account(origin: str, url: str) -> str:
    """Return the storage account of the sending resource, or else of the blob's URL if its host is Azure's, or ""."""
    found = _ACCOUNT.search(origin) or _HOST.match(url)
    return found[1].lower() if found else ""


def _event(e: _Envelope) -> ObjectEvent:
    data, text = e.data, e.data.optional("sequencer")
    return ObjectEvent(
        event_id=e.id,
        change=Change.DELETED if e.name == "BlobDeleted" else Change.CREATED,
        source=ObjectRef(
            Provider.AZURE_BLOB, e.bucket, e.key, version=data.optional("eTag").strip('"'), account=e.account
        ),
        occurred_at=e.time,
        correlation_id=e.id,
        position=Position("azure-sequencer", text) if _SEQUENCER.fullmatch(text) else None,
        size=data.whole("contentLength"),
        content_type=data.optional("contentType"),
        format=e.format,
    )


def _renamed(e: _Envelope) -> tuple[ObjectEvent, ...]:
    """Return a delete under the old name and a create under the new, to which the sequencer belongs."""
    bucket, key = _old_name(e)
    gone = ObjectEvent(
        event_id=derive_id("azure-renamed", e.id),
        change=Change.DELETED,
        source=ObjectRef(Provider.AZURE_BLOB, bucket, key, account=e.account),
        occurred_at=e.time,
        correlation_id=e.id,
        format=e.format,
    )
    return (gone, _event(e))


def _old_name(e: _Envelope) -> tuple[str, str]:
    where = e.data.at("sourceUrl")
    path = _path(e.data.text("sourceUrl"))
    # The URLs are percent-encoded if the new one differs from the subject, which is not.
    if _path(e.data.optional("destinationUrl")) != f"{e.bucket}/{e.key}":
        try:
            path = unquote(path, errors="strict")
        except UnicodeDecodeError as error:
            raise InvalidKey("is not UTF-8 after decoding", where=where) from error
    bucket, _, key = path.partition("/")
    return validate_bucket(bucket, where), validate_key(key, where)


def _path(url: str) -> str:
    return url.partition("://")[2].partition("/")[2]
