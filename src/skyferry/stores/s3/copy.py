"""Server-side copies between buckets that one set of credentials reaches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from urllib.parse import quote, urlencode
from xml.etree import ElementTree

from skyferry.clouds.http import HttpResponse
from skyferry.errors import ObjectNotFound, PreconditionFailed, VersionChanged
from skyferry.model import Attributes, ObjectMeta, Upload
from skyferry.ports import CopySource, Part, Precondition
from skyferry.stores.checks import translate_absence
from skyferry.stores.s3.client import S3Client
from skyferry.stores.s3.errors import InvalidArgument, translate_error
from skyferry.stores.s3.metadata import CHECKSUMS, S3Version, from_base64, parse_write, write_headers
from skyferry.stores.s3.services import S3Service

_SAID = {  # element of the answer -> header with the same value in other answers
    "ETag": "etag",
    "ChecksumType": "x-amz-checksum-type",
    **{f"Checksum{name.upper()}": header for name, header in CHECKSUMS.items()},
}


class S3Copies:
    """The server-side copies of an S3 store."""

    def __init__(self, client: S3Client, service: S3Service, encryption: Mapping[str, str]) -> None:
        self._client, self._service, self._encryption = client, service, encryption

    async def copy(
        self, source: CopySource, found: ObjectMeta, key: str, attributes: Attributes, when: Mapping[str, str]
    ) -> ObjectMeta:
        """Copy an object; `attributes` replace all of the source's. Raise VersionChanged or PreconditionFailed."""
        try:
            return await self._replace(found, key, attributes, {**_origin(source, found), **when})
        except (PreconditionFailed, ObjectNotFound, InvalidArgument) as refused:
            await self._still_there(source, found)  # raises if the source was the reason
            if isinstance(refused, ObjectNotFound):  # the object to replace is gone
                raise PreconditionFailed(refused.message, where=refused.where) from refused
            raise

    async def change(
        self, source: CopySource, found: ObjectMeta, attributes: Attributes, when: Mapping[str, str]
    ) -> ObjectMeta:
        """Copy an object onto itself with other attributes. Raise PreconditionFailed, Unsupported.

        `when` compares ETags, which changed attributes leave as they are. So the copy also demands that the object has not been
        written since `found`, to the second.
        """
        attributes = replace(attributes, storage_class=found.attributes.storage_class)
        newest = replace(found, version=S3Version.parse(found.version).etag)  # never an older one in place of it
        headers = {**_origin(source, newest), **when}
        if when:  # together with `if-match` of the source, S3 ignores this one
            from email.utils import formatdate  # here, for it is slow to import

            headers.pop("x-amz-copy-source-if-match", None)
            headers["x-amz-copy-source-if-unmodified-since"] = formatdate(found.modified, usegmt=True)
        with translate_absence(Precondition(replace=found.version)):
            return await self._replace(found, found.key, attributes, headers)

    async def _replace(
        self, found: ObjectMeta, key: str, attributes: Attributes, named: Mapping[str, str]
    ) -> ObjectMeta:
        """Send CopyObject with all attributes replaced. `named` are the headers of the source and the conditions."""
        headers = {**write_headers(attributes, tags=self._service.tags), **self._encryption, **named}
        headers["x-amz-metadata-directive"] = "REPLACE"
        headers |= {"x-amz-tagging-directive": "REPLACE"} if self._service.tags else {}
        headers["x-amz-checksum-algorithm"] = "CRC32C" if found.checksums.crc32c else "CRC64NVME"
        answer = await self._client.send("PUT", key, headers=headers)
        document = self._document(answer, key)
        said = {header: document.findtext(f"{{*}}{element}", "") for element, header in _SAID.items()}
        return parse_write(key, {**answer.headers, **{k: v for k, v in said.items() if v}}, found.size, attributes)

    async def copy_part(self, upload: Upload, number: int, source: CopySource, found: ObjectMeta) -> Part:
        """Copy a range of the source into a part. Raise VersionChanged or UploadGone."""
        start = (number - 1) * upload.part_size
        length = min(upload.part_size, found.size - start)
        headers = _origin(source, found)
        if length < found.size:  # S3 refuses a range of a small source, even the whole range
            headers["x-amz-copy-source-range"] = f"bytes={start}-{start + length - 1}"
        query = {"partNumber": str(number), "uploadId": upload.id}
        with _pinned(self._client.where(upload.key)):
            document = self._document(
                await self._client.send("PUT", upload.key, query=query, headers=headers), upload.key
            )
        crc32c = from_base64(document.findtext("{*}ChecksumCRC32C", ""))
        return Part(number, start, length, document.findtext("{*}ETag", ""), crc32c)

    def _document(self, answer: HttpResponse, key: str) -> ElementTree.Element:
        document = answer.xml()
        if document.tag.endswith("Error"):  # S3 sends status 200 before the copy ends
            raise translate_error(answer, self._client.where(key))
        return document

    async def _still_there(self, source: CopySource, found: ObjectMeta) -> None:
        """Raise VersionChanged if the source no longer has that version."""
        pin, there = S3Version.parse(found.version), self._client.for_bucket(source.bucket)
        try:
            answer = await there.send("HEAD", found.key, query=pin.query, headers=pin.headers, accept=range(300, 500))
        finally:
            await there.close()
        if answer.status in (400, 404, 405, 412):  # no such id, no such object, a delete marker, another ETag
            raise VersionChanged(where=there.where(found.key))


def _origin(source: CopySource, found: ObjectMeta) -> dict[str, str]:
    """Return the headers that name one version of the source and require it."""
    pin = S3Version.parse(found.version)
    query = f"?{urlencode(pin.query)}" if pin.query else ""
    named = {"x-amz-copy-source": quote(f"/{source.bucket}/{found.key}", safe="/~") + query}
    return named | ({"x-amz-copy-source-if-match": pin.etag} if pin.etag else {})


@contextmanager
def _pinned(where: str) -> Iterator[None]:
    """Turn errors about a missing version into VersionChanged."""
    try:
        yield
    except (PreconditionFailed, ObjectNotFound, InvalidArgument) as changed:
        raise VersionChanged(where=where) from changed
