"""Inspection of a Cloud Storage bucket. Permission: storage.buckets.get, which also covers its notifications.

Every identity may query its own permissions (testIamPermissions).
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from skyferry.clouds.callers import google_caller, skew
from skyferry.clouds.credentials import TokenProvider
from skyferry.ports.inspection import DELETE, LIST, READ, WRITE, BucketFacts, Notice, Unknown, await_or_unknown
from skyferry.stores.gcs.client import GcsClient, GcsOptions

PERMISSIONS = {
    "storage.objects.get": READ,
    "storage.objects.create": WRITE,
    "storage.objects.delete": DELETE,
    "storage.objects.list": LIST,
}
LOOK = "storage.buckets.get"
DAY = 86400


async def inspect(client: GcsClient, tokens: TokenProvider, options: GcsOptions) -> BucketFacts:
    """See `InspectableStore`."""
    answer = await client.send("GET", client.path(), query={"maxResults": "1", "fields": "kind"}, accept=(403,))
    bucket = await await_or_unknown(_bucket(client), LOOK)
    settings = {} if isinstance(bucket, Unknown) else bucket
    return BucketFacts(
        endpoint=client.root,
        who=await _who(tokens, options),
        region=bucket if isinstance(bucket, Unknown) else str(settings.get("location", "")).lower(),
        versioning=bucket if isinstance(bucket, Unknown) else _versioning(settings),
        encryption=bucket if isinstance(bucket, Unknown) else _encryption(settings),
        notices=await await_or_unknown(_notices(client), LOOK),
        skew=skew(answer.headers),
        allowed=await await_or_unknown(_allowed(client), "testIamPermissions"),
        kept=_kept(settings, options),
    )


async def _who(tokens: TokenProvider, options: GcsOptions) -> str | Unknown:
    """Ask Google only about tokens for Google: those of another service must not be sent there."""
    if await tokens() and options.endpoint:
        return Unknown("the endpoint is not Google's")
    return await google_caller(tokens)


async def _bucket(client: GcsClient) -> dict[str, Any]:
    fields = "location,versioning,encryption,retentionPolicy,softDeletePolicy"
    found: dict[str, Any] = (await client.send("GET", _path(client), query={"fields": fields})).json()
    return found


async def _allowed(client: GcsClient) -> frozenset[str]:
    query = {"permissions": list(PERMISSIONS)}
    answer = (await client.send("GET", f"{_path(client)}/iam/testPermissions", query=query)).json()
    return frozenset(PERMISSIONS[name] for name in answer.get("permissions", ()) if name in PERMISSIONS)


async def _notices(client: GcsClient) -> tuple[Notice, ...]:
    answer = (await client.send("GET", f"{_path(client)}/notificationConfigs")).json()
    return tuple(_notice(each) for each in answer.get("items", ()))


def _notice(config: dict[str, Any]) -> Notice:
    """Parse a notification config. Its topic is the address of each subscription; no event types means all."""
    events = tuple(config.get("event_types", ()))
    return Notice(
        target=str(config.get("topic", "")).removeprefix("//pubsub.googleapis.com/"),
        direct=True,
        created=not events or "OBJECT_FINALIZE" in events,
        deleted=not events or "OBJECT_DELETE" in events,
        events=events or ("all",),
        prefix=config.get("object_name_prefix", ""),
    )


def _versioning(settings: dict[str, Any]) -> str:
    soft = int(settings.get("softDeletePolicy", {}).get("retentionDurationSeconds", 0))
    state = "on" if settings.get("versioning", {}).get("enabled") else "off"
    return f"{state}, and deleted objects are kept for {soft / DAY:g} days" if soft else state


def _encryption(settings: dict[str, Any]) -> str:
    return str(settings.get("encryption", {}).get("defaultKmsKeyName", "") or "by Google's keys")


def _kept(settings: dict[str, Any], options: GcsOptions) -> str:
    if not (seconds := int(settings.get("retentionPolicy", {}).get("retentionPeriod", 0))):
        return ""
    large = (
        "; large objects can only be written with `large_upload_mode: resumable`"
        if options.uploads == "compose"
        else ""
    )
    return f"a retention policy keeps each object for {seconds / DAY:g} days{large}"


def _path(client: GcsClient) -> str:
    return f"/storage/v1/b/{quote(client.bucket, safe='')}"
