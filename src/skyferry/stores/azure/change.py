"""Changes of what a blob carries, without its bytes.

Azure has a request for properties, one for tags and one for metadata. Each names the ETag that the one before returned. The
metadata come last, because they carry the provenance: an interrupted change is found there, and made again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from html import escape

from skyferry.clouds.http import HttpResponse
from skyferry.model import Attributes, ObjectMeta
from skyferry.ports import Precondition
from skyferry.stores.azure.client import AzureClient, AzureOptions
from skyferry.stores.azure.metadata import META, TIER, AzureVersion, parse_write, write_headers
from skyferry.stores.checks import translate_absence
from skyferry.stores.s3.metadata import to_base64


class AzureChanges:
    """The changes in place of an Azure store."""

    def __init__(self, client: AzureClient, options: AzureOptions) -> None:
        self._client, self._options = client, options

    async def set(self, found: ObjectMeta, attributes: Attributes) -> ObjectMeta:
        """Set all attributes but the tier. Raise PreconditionFailed, Unsupported."""
        attributes = replace(attributes, storage_class=found.attributes.storage_class)
        headers = write_headers(attributes, tags=False)
        headers.pop(TIER, "")
        properties = {name: value for name, value in headers.items() if not name.startswith(META)}
        user = {name: value for name, value in headers.items() if name.startswith(META)}
        etag = AzureVersion.parse(found.version).etag
        with translate_absence(Precondition(replace=found.version)):
            if not _same_properties(found.attributes, attributes):
                if found.checksums.md5:  # a property that is not named is removed
                    properties["x-ms-blob-content-md5"] = to_base64(found.checksums.md5)
                answer = await self._send(found.key, "properties", {**properties, "if-match": etag})
                etag = AzureVersion.of(answer.headers).etag
            if found.attributes.tags != attributes.tags and not self._options.hierarchical:
                await self._send(found.key, "tags", {}, _tag_set(attributes.tags))
            conditions = {**self._options.encryption_headers, "if-match": etag}
            answer = await self._send(found.key, "metadata", {**user, **conditions})
        return parse_write(found.key, answer.headers, found.size, attributes, found.checksums)

    async def _send(self, key: str, what: str, headers: Mapping[str, str], body: bytes = b"") -> HttpResponse:
        return await self._client.send("PUT", key, query={"comp": what}, headers=dict(headers), body=body)


def _same_properties(one: Attributes, other: Attributes) -> bool:
    return replace(one, metadata={}, tags={}) == replace(other, metadata={}, tags={})


def _tag_set(tags: Mapping[str, str]) -> bytes:
    listed = "".join(f"<Tag><Key>{escape(k)}</Key><Value>{escape(v)}</Value></Tag>" for k, v in tags.items())
    return f'<?xml version="1.0" encoding="utf-8"?><Tags><TagSet>{listed}</TagSet></Tags>'.encode()
