"""Server-side copies between containers of one account.

A copy is a block list of one block, which Azure reads from the source. Unlike Copy Blob, this replaces all attributes and
supports the preconditions of a write. The service computes the MD5 of the block, and rejects it if the source's differs.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Mapping

from skyferry.errors import ObjectNotFound, PreconditionFailed, VersionChanged
from skyferry.model import Attributes, Checksums, ObjectMeta, Upload
from skyferry.ports import CopySource
from skyferry.stores.azure.client import AzureClient, AzureOptions
from skyferry.stores.azure.metadata import AzureVersion, parse_write
from skyferry.stores.azure.upload import AzureUploads
from skyferry.stores.s3.metadata import from_base64, to_base64


class AzureCopies:
    """The server-side copies of an Azure store."""

    def __init__(self, client: AzureClient, options: AzureOptions, uploads: AzureUploads) -> None:
        self._client, self._options, self._uploads = client, options, uploads

    async def copy(
        self, source: CopySource, found: ObjectMeta, key: str, attributes: Attributes, conditions: Mapping[str, str]
    ) -> ObjectMeta:
        """Copy a blob. Raise VersionChanged."""
        upload = Upload(secrets.token_hex(12), key, found.size, found.size, attributes)
        if found.size == 0:  # Azure rejects empty blocks
            md5 = await self._still_empty(source, found)
        else:
            md5 = await self._take(source, found, upload)
        tags = [_tag(upload)] if found.size else []
        answer = await self._uploads.commit(upload, tags, md5, conditions)
        return await self._uploads.refresh_size(
            parse_write(key, answer.headers, found.size, attributes, Checksums(md5=md5))
        )

    async def _take(self, source: CopySource, found: ObjectMeta, upload: Upload) -> str:
        """Send Put Block From URL. Return the MD5 of the bytes that Azure read."""
        said = {"x-ms-source-if-match": AzureVersion.parse(found.version).etag, **self._options.encryption_headers}
        if found.checksums.md5:
            said["x-ms-source-content-md5"] = to_base64(found.checksums.md5)
        query = {"comp": "block", "blockid": _tag(upload)}
        origin = (source.bucket, found.key)
        answer = await self._client.send("PUT", upload.key, query=query, headers=said, origin=origin)
        return from_base64(answer.headers.get("content-md5", ""))

    async def _still_empty(self, source: CopySource, found: ObjectMeta) -> str:
        """Return the MD5 of the empty source. Raise VersionChanged if the source changed."""
        there = self._client.for_container(source.bucket)
        try:
            answer = await there.send("HEAD", found.key, headers=AzureVersion.parse(found.version).headers)
        except (ObjectNotFound, PreconditionFailed) as changed:
            raise VersionChanged(where=there.where(found.key)) from changed
        return from_base64(answer.headers.get("content-md5", ""))


def _tag(upload: Upload) -> str:
    """Return a block id as long as all others, which no upload takes for its own."""
    return base64.b64encode(f"skyferry-{upload.id}-copy".ljust(48, ".").encode()).decode()
