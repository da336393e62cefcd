"""Delete exactly one version where the service ignores `If-Match` on a DELETE but the bucket keeps versions.

A DELETE without a version id hides the newest version under a delete marker. The hidden version is checked afterwards. If
it is not the one to delete, the marker is removed, and the version is the newest again.

Where versioning is suspended, the marker has the id null. It also hides, but it replaces what was written since the suspension,
as in a bucket without versions.
"""

from __future__ import annotations

from contextlib import suppress

from skyferry.errors import PreconditionFailed, SkyferryError
from skyferry.stores.s3.client import S3Client
from skyferry.stores.s3.listing import key_decoder, parse_listing

LOOK = "10"  # entries of a key to read: the marker comes first, the hidden version next


async def delete_kept(client: S3Client, key: str, version_id: str) -> None:
    """Hide this version and no other. Raise PreconditionFailed for another version."""
    answer = await client.send("DELETE", key)
    marker = answer.headers.get("x-amz-version-id", "")
    if answer.headers.get("x-amz-delete-marker", "") != "true" or not marker:
        return  # the bucket no longer keeps versions: nothing to check
    try:
        hidden = await _newest(client, key)
    except SkyferryError:
        with suppress(SkyferryError):
            await _reveal(client, key, marker)
        raise
    if hidden != version_id:
        await _reveal(client, key, marker)
        raise PreconditionFailed("the object has another version", where=client.where(key))


async def _newest(client: S3Client, key: str) -> str:
    """Return the id of the newest version that is no marker; "" if there is none."""
    query = {"versions": "", "prefix": key, "max-keys": LOOK, "encoding-type": "url"}
    page = parse_listing((await client.send("GET", query=query)).body)
    decode = key_decoder(page)
    for each in page.iterfind("{*}Version"):
        if decode(each.findtext("{*}Key", "")) == key:
            return each.findtext("{*}VersionId", "")
    return ""


async def _reveal(client: S3Client, key: str, marker: str) -> None:
    await client.send("DELETE", key, query={"versionId": marker})
