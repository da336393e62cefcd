"""Listings of a container, page by page."""

from __future__ import annotations

from collections.abc import AsyncIterator
from email.utils import parsedate_to_datetime
from urllib.parse import unquote
from xml.etree import ElementTree

from skyferry.errors import StoreError
from skyferry.model import UNPLAIN, Checksums, ObjectMeta, Position
from skyferry.stores.azure.client import AzureClient, AzureOptions
from skyferry.stores.azure.metadata import quote_etag
from skyferry.stores.checks import translate_malformed
from skyferry.stores.paging import PageGuard, outside
from skyferry.stores.s3.metadata import from_base64


class Listing:
    """The blobs of a container in the service's order, without the directories of a hierarchical namespace."""

    def __init__(self, client: AzureClient, options: AzureOptions) -> None:
        self._client, self._options = client, options

    async def pages(self, prefix: str = "", after: str = "", include: str = "") -> AsyncIterator[list[ObjectMeta]]:
        """Yield page after page; the first may begin before `after`."""
        query = {"restype": "container", "comp": "list", "maxresults": str(self._options.list_page)}
        query |= {"prefix": prefix} if prefix else {}
        query |= {"include": include} if include else {}
        start = UNPLAIN.split(after, maxsplit=1)[0]
        if start and self._options.starts:
            query["startFrom"] = start
        pages, more = PageGuard(self._client.name), True
        while more:
            document = (await self._client.send("GET", query=query)).xml()
            if document.find("Blobs") is None:  # must not pass for an empty container
                raise StoreError("the answer is no listing; check whether another server answers at this endpoint")
            with translate_malformed(self._client.name):
                page = [found for each in document.iterfind("Blobs/Blob") if (found := _meta(each))]
            for found in page:
                if not found.key.startswith(prefix):
                    raise outside(found.key, prefix, self._client.name)
            yield page
            marker = document.find("NextMarker")
            if marker is None:  # empty on the last page
                raise StoreError("the listing does not say whether it goes on", where=self._client.name)
            query["marker"] = pages.turn(marker.text or "", document.findtext("Blobs/Blob/Name", ""))
            more = bool(query["marker"])


def _meta(blob: ElementTree.Element) -> ObjectMeta | None:
    """Parse one blob of a listing; None for a directory."""
    name, properties = blob.find("Name"), blob.find("Properties")
    if name is None or properties is None or properties.findtext("ResourceType", "") == "directory":
        return None
    key = name.text or ""
    modified = parsedate_to_datetime(properties.findtext("Last-Modified", "")).timestamp()
    return ObjectMeta(
        key=unquote(key) if name.get("Encoded") == "true" else key,
        size=int(properties.findtext("Content-Length", "0")),
        version=quote_etag(properties.findtext("Etag", "")),
        modified=modified,
        position=Position.at(int(modified * 1e9)),
        checksums=Checksums(md5=from_base64(properties.findtext("Content-MD5", ""))),
    )
