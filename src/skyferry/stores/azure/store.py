"""Azure Blob Storage: one container of one account, one request per small read or write."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial

from skyferry.bodies import StreamedBody
from skyferry.clouds.azure import AzureProvider
from skyferry.clouds.http import HttpResponse
from skyferry.errors import (
    ConnectionLost,
    InvalidKey,
    ObjectNotFound,
    PreconditionFailed,
    StoreError,
    Unsupported,
    VersionChanged,
)
from skyferry.model import Attributes, Checksums, ObjectMeta, Part, Upload
from skyferry.ports import ANY, CopySource, ObjectData, Precondition
from skyferry.ports.inspection import BucketFacts
from skyferry.ports.listing import Pages, paged
from skyferry.stores.azure.change import AzureChanges
from skyferry.stores.azure.checksums import demand, digest
from skyferry.stores.azure.client import AzureClient, AzureOptions
from skyferry.stores.azure.copy import AzureCopies
from skyferry.stores.azure.inspection import inspect
from skyferry.stores.azure.listing import Listing
from skyferry.stores.azure.metadata import AzureVersion, meta, parse_write, write_headers
from skyferry.stores.azure.upload import AzureUploads
from skyferry.stores.checks import OTHER_SERVER, check_key, translate_absence
from skyferry.stores.s3.metadata import content_length, content_range, from_base64

SEGMENTS_MAX = 254
# "Naming and Referencing Containers, Blobs, and Metadata", Azure Storage REST API. Azure turns a backslash into a
# slash and drops a dot at the end of a segment, which gives another key.
_REFUSED = re.compile(r"[\x00-\x1f\x7f-\x9f\\\ufffe\uffff]|\.(?:/|\Z)")


class AzureStore:
    """An ObjectStore on one container. Versions are pinned by version id where the account keeps them, else by ETag."""

    def __init__(self, name: str, container: str, options: AzureOptions, credential: AzureProvider) -> None:
        self.name, self.traits = name, options.traits()
        self._options = options
        self._client = AzureClient(name, container, credential, options)
        self._listing = Listing(self._client, options)
        self._uploads = AzureUploads(self._client, options)
        self._copies = AzureCopies(self._client, options, self._uploads)
        self._changes = AzureChanges(self._client, options)
        self._inspected = partial(inspect, self._client, credential, options)
        self.copy_source: CopySource | None = CopySource(("azure", self._client.account, credential), container)

    async def head(self, key: str) -> ObjectMeta:
        self._check(key)
        return await self._tagged(*await self._look(key, AzureVersion()))

    async def read(self, key: str, start: int, length: int, *, version: str = "") -> ObjectData:
        """Read a range. With `version`, the meta has tags only if `start` is 0."""
        self._check(key)
        pin = AzureVersion.parse(version)
        wanted = max(length, 1)
        headers = {**pin.reading, "x-ms-range": f"bytes={start}-{start + wanted - 1}"}
        with self._pinned(key, pin):
            answer = await self._client.send("GET", key, query=pin.query, headers=headers, limit=wanted, accept=(416,))
        if answer.status == 416:
            return await self._past_the_end(key, start, pin)
        begin, size = content_range(answer)
        if begin != start or len(answer.body) != min(wanted, size - start):
            raise ConnectionLost(f"{len(answer.body)} of {length} bytes arrived", where=self._client.where(key))
        found = meta(key, answer.headers, size, ranged=answer.status == 206)
        if pin.etag and pin.etag != AzureVersion.parse(found.version).etag:
            raise VersionChanged(where=self._client.where(key))
        if not version or start == 0:
            found = await self._tagged(found, answer)
        return ObjectData(found, answer.body[: max(length, 0)])

    async def write(
        self, key: str, data: bytes, attributes: Attributes, checksums: Checksums, when: Precondition = ANY
    ) -> ObjectMeta:
        self._check(key)
        known = await digest(data, checksums, self._client.where(key))
        headers = {**write_headers(attributes, tags=not self._options.hierarchical), **self._options.encryption_headers}
        headers |= {**_conditions(when), **demand(known), "x-ms-blob-type": "BlockBlob"}
        with translate_absence(when):
            answer = await self._client.send("PUT", key, headers=headers, body=data)
        attested = Checksums(
            known.crc32c, md5=from_base64(answer.headers.get("content-md5", "")), crc64nvme=known.crc64nvme
        )
        return parse_write(key, answer.headers, len(data), attributes, attested)

    async def write_stream(
        self, key: str, body: StreamedBody, attributes: Attributes, checksums: Checksums, when: Precondition = ANY
    ) -> ObjectMeta:
        """Raise Unsupported: no digest of a stream is checked."""
        raise Unsupported(where=f"{self.name} {key}")

    async def start_upload(self, key: str, size: int, part_size: int, attributes: Attributes) -> Upload:
        self._check(key)
        return await self._uploads.start(key, size, part_size, attributes)

    async def write_part(self, upload: Upload, number: int, data: bytes, crc32c: str) -> Part:
        return await self._uploads.write_part(upload, number, data, crc32c)

    async def finish_upload(
        self, upload: Upload, parts: Sequence[Part], checksums: Checksums, when: Precondition = ANY
    ) -> ObjectMeta:
        with translate_absence(when):
            return await self._uploads.finish(upload, parts, checksums, _conditions(when))

    async def abort_upload(self, upload: Upload) -> None:
        await self._uploads.abort(upload)

    async def uploaded_parts(self, upload: Upload) -> list[Part]:
        return await self._uploads.parts(upload)

    def uploads(self, prefix: str = "") -> AsyncIterator[Upload]:
        return self._uploads.uploads(prefix)

    async def copy_from(
        self, source: CopySource, found: ObjectMeta, key: str, attributes: Attributes, when: Precondition = ANY
    ) -> ObjectMeta:
        self._check(key)
        with translate_absence(when):
            return await self._copies.copy(source, found, key, attributes, _conditions(when))

    async def copy_part(self, upload: Upload, number: int, source: CopySource, found: ObjectMeta) -> Part:
        """Raise Unsupported: Azure attests a part by MD5, and MD5s of parts do not combine to one of the whole."""
        raise Unsupported(where=self._client.where(upload.key))

    async def set_attributes(self, found: ObjectMeta, attributes: Attributes) -> ObjectMeta:
        self._check(found.key)
        return await self._changes.set(found, attributes)

    async def make_folder(self, key: str) -> None:
        """Raise Unsupported: there are no folders."""
        raise Unsupported(where=self._client.where(key))

    async def delete(self, key: str, when: Precondition = ANY) -> None:
        self._check(key)
        with suppress(ObjectNotFound), translate_absence(when):
            await self._client.send("DELETE", key, headers=_conditions(when))

    @paged
    async def list(self, prefix: str = "", after: str = "") -> Pages[ObjectMeta]:
        mark = after.encode()
        async for page in self._listing.pages(prefix, after):
            yield [found for found in page if found.key.encode() > mark] if mark else page

    async def inspect(self) -> BucketFacts:
        return await self._inspected()

    async def close(self) -> None:
        await self._client.close()

    def _check(self, key: str) -> None:
        check_key(key, self.name)
        if _REFUSED.search(key) or key.count("/") >= SEGMENTS_MAX:
            said = f"Azure accepts no key with control characters, backslashes, a dot at the end of a segment, or {SEGMENTS_MAX}"
            raise InvalidKey(f"{said} slashes", where=self._client.where(key))

    async def _look(self, key: str, pin: AzureVersion) -> tuple[ObjectMeta, HttpResponse]:
        answer = await self._client.send("HEAD", key, query=pin.query, headers=pin.reading)
        return meta(key, answer.headers, content_length(answer)), answer

    @contextmanager
    def _pinned(self, key: str, pin: AzureVersion) -> Iterator[None]:
        """Raise VersionChanged if the requested version is gone."""
        try:
            yield
        except PreconditionFailed as changed:
            raise VersionChanged(where=self._client.where(key)) from changed
        except ObjectNotFound as gone:
            raise (VersionChanged(where=self._client.where(key)) if pin.version_id else gone) from gone

    async def _past_the_end(self, key: str, start: int, pin: AzureVersion) -> ObjectData:
        """Return an empty read with the meta, which a 416 answer lacks (a range past the end, or of an empty blob)."""
        with self._pinned(key, pin):
            found, answer = await self._look(key, pin)
        if found.size > start:
            raise VersionChanged(where=self._client.where(key))
        return ObjectData(await self._tagged(found, answer), b"")

    async def _tagged(self, found: ObjectMeta, answer: HttpResponse) -> ObjectMeta:
        if answer.headers.get("x-ms-tag-count", "0") == "0":
            return found
        query = {"comp": "tags", **AzureVersion.parse(found.version).query}
        document = (await self._client.send("GET", found.key, query=query)).xml()
        if document.find("TagSet") is None:
            raise StoreError("the answer has no tags", where=self._client.where(found.key), hint=OTHER_SERVER)
        tags = {tag.findtext("Key", ""): tag.findtext("Value", "") for tag in document.iterfind("TagSet/Tag")}
        return replace(found, attributes=replace(found.attributes, tags=tags))


def _conditions(when: Precondition) -> dict[str, str]:
    """Return the headers of a precondition. Raise Unsupported for a version without an ETag."""
    if when.create_only:
        return {"if-none-match": "*"}
    demand = AzureVersion.parse(when.replace).headers
    if when.replace and not demand:
        raise Unsupported(f"Azure compares ETags, but version {when.replace!r} names none")
    return demand
