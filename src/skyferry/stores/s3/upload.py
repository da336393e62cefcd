"""Multipart uploads to S3, verified by part and as a whole, completed under a precondition if the service supports it."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from xml.etree.ElementTree import Element

from skyferry import crcs
from skyferry.clouds.http import seconds
from skyferry.errors import ChecksumMismatch, ObjectNotFound, StoreError, UploadGone
from skyferry.model import Attributes, Checksums, ObjectMeta
from skyferry.ports import Part, Upload
from skyferry.stores.checks import OTHER_SERVER, translate_malformed
from skyferry.stores.paging import PageGuard
from skyferry.stores.s3.client import S3Client
from skyferry.stores.s3.errors import translate_error
from skyferry.stores.s3.listing import key_decoder, next_marker, parse_listing
from skyferry.stores.s3.metadata import (
    CHECKSUMS,
    S3Version,
    content_length,
    from_base64,
    meta,
    parse_write,
    quote_etag,
    to_base64,
    write_headers,
)
from skyferry.stores.s3.metadata import checksums as attested_by
from skyferry.stores.s3.services import FULL_OBJECT, S3Service

CRC32C = CHECKSUMS["crc32c"]
QUOTE = '"'
_ATTESTED = {  # element of the answer to a completion -> header with the same value in other answers
    "ETag": "etag",
    "ChecksumCRC32C": CRC32C,
    "ChecksumType": "x-amz-checksum-type",
}


class S3Uploads:
    """The multipart uploads of an S3 store."""

    def __init__(self, client: S3Client, service: S3Service, encryption: Mapping[str, str]) -> None:
        self._client, self._service, self._encryption = client, service, encryption

    async def start(self, key: str, size: int, part_size: int, attributes: Attributes) -> Upload:
        headers = {**write_headers(attributes, tags=self._service.tags), **self._encryption}
        if kind := self._service.upload_checksum:
            headers |= {"x-amz-checksum-algorithm": "CRC32C", "x-amz-checksum-type": kind}
        answer = await self._client.send("POST", key, query={"uploads": ""}, headers=headers)
        if not (upload_id := answer.xml().findtext("{*}UploadId", "")):  # a part would replace the object
            raise StoreError("the answer names no upload", where=self._client.where(key), hint=OTHER_SERVER)
        return Upload(upload_id, key, size, part_size, attributes, seconds(answer.headers.get("date", "")))

    async def write_part(self, upload: Upload, number: int, data: bytes, crc32c: str) -> Part:
        checked, md5 = bool(self._service.upload_checksum), ""
        query = {"partNumber": str(number), "uploadId": upload.id}
        if self._service.attests_parts:
            hashing = asyncio.create_task(asyncio.to_thread(_md5, data))
            try:
                answer = await self._client.send("PUT", upload.key, query=query, body=data)
            finally:
                md5 = await hashing  # after this call, `data` may be reused
        else:
            if not checked:  # the only digest that the service may attest
                md5 = await asyncio.to_thread(_md5, data)
            headers = {CRC32C: to_base64(crc32c)} if checked else {"content-md5": to_base64(md5)}
            answer = await self._client.send("PUT", upload.key, query=query, headers=headers, body=data)
        attested = attested_by(answer.headers).md5
        if md5 and attested and attested != md5:
            raise ChecksumMismatch(
                "the store received other bytes than were sent", where=self._client.where(upload.key)
            )
        proven = crc32c if checked or attested else ""
        return Part(
            number, (number - 1) * upload.part_size, len(data), quote_etag(answer.headers.get("etag", "")), proven
        )

    async def finish(
        self, upload: Upload, parts: Sequence[Part], checksums: Checksums, when: Mapping[str, str]
    ) -> ObjectMeta:
        """Complete the upload. After a lost answer, return the object that the first attempt made.

        The answer proves the whole, as that to a PUT does, so the object is not looked at: `rclone serve s3` would read and
        digest all of it for that. `modified` is the time of the answer; Amazon's Last-Modified is that of the start.
        """
        headers = {**when, "content-type": "application/xml"}
        if self._service.upload_checksum == FULL_OBJECT:
            headers |= {"x-amz-checksum-type": FULL_OBJECT, "x-amz-mp-object-size": str(upload.size)}
            headers |= {CRC32C: to_base64(checksums.crc32c)} if checksums.crc32c else {}
        query, body = {"uploadId": upload.id}, _document(parts, checked=bool(self._service.upload_checksum))
        try:
            answer = await self._client.send("POST", upload.key, query=query, headers=headers, body=body)
        except UploadGone:
            return await self._made_before(upload, checksums)
        document = answer.xml()
        if document.tag.endswith("Error"):  # S3 sends status 200 before the completion ends
            raise translate_error(answer, self._client.where(upload.key))
        if not document.tag.endswith("Result"):  # and the object that is there may be another one
            raise StoreError("the answer names no object", where=self._client.where(upload.key), hint=OTHER_SERVER)
        said = {header: document.findtext(f"{{*}}{element}", "") for element, header in _ATTESTED.items()}
        made = parse_write(upload.key, {**answer.headers, **said}, upload.size, upload.attributes)
        if not S3Version.parse(made.version).etag:  # Ceph 16 omits it
            made = await self._look_at(made)
        if self._service.upload_checksum == FULL_OBJECT:
            return made
        proven = _composed(parts, S3Version.parse(made.version).etag, said[CRC32C])
        return replace(made, checksums=Checksums(crc32c=checksums.crc32c) if proven else Checksums())

    async def abort(self, upload: Upload) -> None:
        with suppress(UploadGone):
            await self._client.send("DELETE", upload.key, query={"uploadId": upload.id})

    async def parts(self, upload: Upload) -> list[Part]:
        """List the stored parts in order. Raise UploadGone if the upload is gone."""
        found: list[Part] = []
        marker, pages = "0", PageGuard(self._client.name)
        while marker:
            query = {"uploadId": upload.id, "part-number-marker": marker}
            try:
                document = (await self._client.send("GET", upload.key, query=query)).xml()
            except ObjectNotFound as gone:  # the answer of Ceph
                raise UploadGone(where=gone.where) from gone
            with translate_malformed(self._client.where(upload.key)):
                found.extend(_part(upload, part) for part in document.iterfind("{*}Part"))
            more = document.findtext("{*}IsTruncated", "") == "true"
            marker = pages.turn(document.findtext("{*}NextPartNumberMarker", ""), "") if more else ""
        return found

    async def uploads(self, prefix: str = "") -> AsyncIterator[Upload]:
        """List all unfinished uploads of the bucket in key order, also those of other programs. Their sizes are unknown (0)."""
        marker: dict[str, str] | None = {}
        pages = PageGuard(self._client.name)
        while marker is not None:
            encoding = {"encoding-type": "url"} if self._service.encodes_uploads else {}
            query = {"uploads": "", "prefix": prefix, **encoding, **marker}
            document = parse_listing((await self._client.send("GET", query=query)).body)
            decode = key_decoder(document)
            for each in document.iterfind("{*}Upload"):
                key, id_ = decode(each.findtext("{*}Key", "")), each.findtext("{*}UploadId", "")
                with translate_malformed(self._client.name):
                    started = datetime.fromisoformat(each.findtext("{*}Initiated", ""))
                yield Upload(id_, key, 0, 0, started_at=started.timestamp())
            marker = None
            if after := next_marker(document, "NextKeyMarker", self._client.name):
                upload_id = document.findtext("{*}NextUploadIdMarker", "")
                pages.turn(f"{after} {upload_id}", document.findtext("{*}Upload/{*}UploadId", ""))
                marker = {"key-marker": decode(after), "upload-id-marker": upload_id}

    async def _look_at(self, made: ObjectMeta) -> ObjectMeta:
        """Return what the store says of the object that was just made; `made` unchanged if it has been deleted."""
        pin = S3Version.parse(made.version)
        answer = await self._client.send("HEAD", made.key, query=pin.query, accept=(404,))
        if answer.status == 404:
            return made
        found = meta(made.key, answer.headers, content_length(answer))
        return replace(made, size=found.size, version=found.version, modified=found.modified, position=found.position)

    async def _made_before(self, upload: Upload, checksums: Checksums) -> ObjectMeta:
        """Return the object if this upload made it, else raise UploadGone."""
        answer = await self._client.send("HEAD", upload.key, headers=self._service.asking, accept=(404,))
        found = meta(upload.key, answer.headers, int(answer.headers.get("content-length", -1)))
        same = found.attributes.metadata == upload.attributes.metadata and found.size == upload.size
        proven = found.checksums.comparable_with(checksums) and not found.checksums.find_conflict(checksums)
        if answer.status == 404 or not same or not proven:
            raise UploadGone(where=self._client.where(upload.key))
        return replace(found, attributes=upload.attributes)


def _part(upload: Upload, part: Element) -> Part:
    """Parse one part of a listing."""
    number, size = int(part.findtext("{*}PartNumber", "0")), int(part.findtext("{*}Size", "0"))
    crc32c = from_base64(part.findtext("{*}ChecksumCRC32C", ""))
    return Part(number, (number - 1) * upload.part_size, size, part.findtext("{*}ETag", ""), crc32c)


def _document(parts: Sequence[Part], *, checked: bool) -> bytes:
    """Write the body of a completion, with the checksums of the parts if they were uploaded with them."""
    from html import escape  # here, for it imports a table of 2,000 names

    listed = "".join(
        f"<Part><PartNumber>{part.number}</PartNumber><ETag>{escape(part.tag)}</ETag>"
        + (f"<ChecksumCRC32C>{to_base64(part.crc32c)}</ChecksumCRC32C>" if checked and part.crc32c else "")
        + "</Part>"
        for part in sorted(parts, key=lambda part: part.number)
    )
    namespace = "http://s3.amazonaws.com/doc/2006-03-01/"
    return f'<CompleteMultipartUpload xmlns="{namespace}">{listed}</CompleteMultipartUpload>'.encode()


def _composed(parts: Sequence[Part], etag: str, composite: str) -> bool:
    """Return True if the store attests that the object consists of these parts. It attests no digest of the whole.

    A part with a CRC was verified by the store, by that CRC or by its MD5, which is then its ETag. The object's COMPOSITE
    checksum is the CRC of those CRCs, its ETag the MD5 of those MD5s, each followed by the number of parts.
    """
    parts = sorted(parts, key=lambda part: part.number)
    if not all(part.crc32c for part in parts):
        return False
    if composite:
        return composite == f"{to_base64(f'{crcs.crc32c(_joined(part.crc32c for part in parts)):08x}')}-{len(parts)}"
    return etag == f'"{_md5(_joined(part.tag.strip(QUOTE) for part in parts))}-{len(parts)}"'


def _joined(digests: Iterable[str]) -> bytes:
    """Return the bytes of hexadecimal digests; none if one of them is malformed."""
    try:
        return bytes.fromhex("".join(digests))
    except ValueError:
        return b""


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()
