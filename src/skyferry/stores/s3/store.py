"""Amazon S3 and compatible services (`services.SERVICES`): one bucket, one request per small read or write."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import replace
from functools import partial

from skyferry.bodies import StreamedBody
from skyferry.clouds.credentials import S3Provider
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
from skyferry.model import Attributes, Checksums, ObjectMeta
from skyferry.ports import ANY, CopySource, ObjectData, Part, Precondition, Upload
from skyferry.ports.inspection import BucketFacts
from skyferry.ports.listing import Pages, paged
from skyferry.stores.checks import OTHER_SERVER, check_key, translate_absence
from skyferry.stores.paging import PageGuard, outside
from skyferry.stores.s3.client import S3Client, S3Options
from skyferry.stores.s3.copy import S3Copies
from skyferry.stores.s3.delete import delete_kept
from skyferry.stores.s3.errors import InvalidArgument, name_storage_class
from skyferry.stores.s3.inspection import inspect
from skyferry.stores.s3.listing import check_count, next_token, parse_listing, parse_objects
from skyferry.stores.s3.metadata import (
    CHECKSUMS,
    S3Version,
    content_length,
    content_range,
    meta,
    parse_write,
    to_base64,
    write_headers,
)
from skyferry.stores.s3.upload import S3Uploads

_NOTHING = nullcontext()


class S3Store:
    """An ObjectStore on one bucket. Versions are pinned by version id where the bucket keeps them, else by ETag."""

    def __init__(self, name: str, bucket: str, credentials: S3Provider, options: S3Options) -> None:
        self.name, self.traits = name, options.row.traits()
        place = (options.service, options.endpoint) if options.endpoint else (options.service,)
        self.copy_source: CopySource | None = CopySource((*place, options.requester_pays, credentials), bucket)
        self._service, self._encryption = options.row, options.encryption_headers
        self._client = S3Client(name, bucket, credentials, options)
        self._uploads = S3Uploads(self._client, self._service, self._encryption)
        self._copies = S3Copies(self._client, self._service, self._encryption)
        self._inspected = partial(inspect, self._client, credentials, options)

    async def head(self, key: str) -> ObjectMeta:
        self._check(key)
        return await self._tagged(*await self._look(key, S3Version()))

    async def read(self, key: str, start: int, length: int, *, version: str = "") -> ObjectData:
        """Read a range. With `version`, the meta has the checksums of this answer, and tags only if `start` is 0."""
        self._check(key)
        pin = S3Version.parse(version)
        headers = {**self._service.asking, **pin.headers, "range": f"bytes={start}-{start + max(length, 1) - 1}"}
        try:
            answer = await self._client.send(
                "GET", key, query=pin.query, headers=headers, limit=max(length, 1), accept=(416,)
            )
        except PreconditionFailed as changed:
            raise VersionChanged(where=self._client.where(key)) from changed
        except (ObjectNotFound, InvalidArgument) as gone:  # InvalidArgument: malformed version id
            raise (VersionChanged(where=self._client.where(key)) if pin.version_id else gone) from gone
        if answer.status == 416:
            return await self._past_the_end(key, start, pin)
        begin, size = content_range(answer)
        if begin != start or len(answer.body) != min(max(length, 1), size - start):
            raise ConnectionLost(f"{len(answer.body)} of {length} bytes arrived", where=self._client.where(key))
        found = meta(key, answer.headers, size, ranged=True)
        if pin.etag and pin.etag != S3Version.parse(found.version).etag:  # the service ignores If-Match
            raise VersionChanged(where=self._client.where(key))
        if len(answer.body) != size:  # a checksum may be that of a part
            found = replace(found, checksums=Checksums(md5=found.checksums.md5))
        if not version:
            found = await self._whole(found, answer)
        elif start == 0 and _has_tags(answer):
            found = await self._tagged(found, answer)
        return ObjectData(found, answer.body[: max(length, 0)])

    async def write(
        self, key: str, data: bytes, attributes: Attributes, checksums: Checksums, when: Precondition = ANY
    ) -> ObjectMeta:
        return await self._put(key, data, len(data), attributes, checksums, when)

    async def write_stream(
        self, key: str, body: StreamedBody, attributes: Attributes, checksums: Checksums, when: Precondition = ANY
    ) -> ObjectMeta:
        return await self._put(key, body, body.size, attributes, checksums, when)

    async def start_upload(self, key: str, size: int, part_size: int, attributes: Attributes) -> Upload:
        self._check(key)
        with self._name_class(key, attributes):
            return await self._uploads.start(key, size, part_size, attributes)

    async def write_part(self, upload: Upload, number: int, data: bytes, crc32c: str) -> Part:
        return await self._uploads.write_part(upload, number, data, crc32c)

    async def finish_upload(
        self, upload: Upload, parts: Sequence[Part], checksums: Checksums, when: Precondition = ANY
    ) -> ObjectMeta:
        if when != ANY and not self._service.finish_exact:
            raise Unsupported("this service finishes uploads unconditionally", where=self._client.where(upload.key))
        with translate_absence(when):
            return await self._uploads.finish(upload, parts, checksums, self._conditions(when))

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
        if when != ANY and not self._service.copy_exact:
            raise Unsupported("this service copies unconditionally", where=self._client.where(key))
        with self._name_class(key, attributes):
            return await self._copies.copy(source, found, key, attributes, self._conditions(when))

    async def copy_part(self, upload: Upload, number: int, source: CopySource, found: ObjectMeta) -> Part:
        return await self._copies.copy_part(upload, number, source, found)

    async def set_attributes(self, found: ObjectMeta, attributes: Attributes) -> ObjectMeta:
        self._check(found.key)
        assert self.copy_source is not None  # set by the constructor
        if found.size > self.traits.copy_limit:
            raise Unsupported("S3 copies no object of this size in one request", where=self._client.where(found.key))
        when = self._conditions(Precondition(replace=found.version)) if self._service.copy_exact else {}
        return await self._copies.change(self.copy_source, found, attributes, when)

    async def make_folder(self, key: str) -> None:
        """Raise Unsupported: there are no folders."""
        raise Unsupported(where=self._client.where(key))

    async def delete(self, key: str, when: Precondition = ANY) -> None:
        self._check(key)
        if when.replace and not self._service.delete_exact:
            if not (version_id := S3Version.parse(when.replace).version_id):
                raise Unsupported("this service deletes unconditionally", where=self._client.where(key))
            return await delete_kept(self._client, key, version_id)
        with suppress(ObjectNotFound), translate_absence(when):
            await self._client.send("DELETE", key, headers=_replacement(when))
        return None

    @paged
    async def list(self, prefix: str = "", after: str = "") -> Pages[ObjectMeta]:
        query = {"list-type": "2", "encoding-type": "url", "prefix": prefix}
        if self._service.ordered:  # in another order, `start-after` would skip keys
            query["start-after"] = after
        pages, more = PageGuard(self.name), True
        while more:
            page = parse_listing((await self._client.send("GET", query={k: v for k, v in query.items() if v})).body)
            objects = [*parse_objects(page)]
            check_count(page, len(objects), self.name)
            for found in objects:
                if not found.key.startswith(prefix):
                    raise outside(found.key, prefix, self.name)
            yield [found for found in objects if found.key > after] if after else objects
            first = objects[0].key if objects else ""
            token = pages.turn(next_token(page, len(objects), self.name), first)
            query["continuation-token"], more = token, bool(token)

    async def inspect(self) -> BucketFacts:
        return await self._inspected()

    async def close(self) -> None:
        await self._client.close()

    def _check(self, key: str) -> None:
        check_key(key, self.name)
        if "\0" in key:
            raise InvalidKey("the key contains a NUL", where=self.name)

    async def _put(
        self,
        key: str,
        body: bytes | StreamedBody,
        size: int,
        attributes: Attributes,
        checksums: Checksums,
        when: Precondition,
    ) -> ObjectMeta:
        self._check(key)
        headers = {**write_headers(attributes, tags=self._service.tags), **self._encryption}
        headers |= self._conditions(when)
        if self._service.checksums:
            headers |= _strongest(checksums)
        if checksums.md5:
            headers["content-md5"] = to_base64(checksums.md5)
        with self._translate_errors(key, attributes, when):
            answer = await self._client.send("PUT", key, headers=headers, body=body, sha256=checksums.sha256)
        return parse_write(key, answer.headers, size, attributes)

    def _translate_errors(self, key: str, attributes: Attributes, when: Precondition) -> AbstractContextManager[None]:
        if not when.replace:  # no absence to translate
            return self._name_class(key, attributes)
        return self._translate_absence(key, attributes, when)

    @contextmanager
    def _translate_absence(self, key: str, attributes: Attributes, when: Precondition) -> Iterator[None]:
        with translate_absence(when), self._name_class(key, attributes):
            yield

    def _name_class(self, key: str, attributes: Attributes) -> AbstractContextManager[None]:
        if not attributes.storage_class:
            return _NOTHING
        return name_storage_class(attributes.storage_class, self._client.where(key))

    def _conditions(self, when: Precondition) -> dict[str, str]:
        """Return the headers of a precondition. Raise Unsupported if this service would ignore it."""
        honoured = (self.traits.create_only or not when.create_only) and (self.traits.replace_exact or not when.replace)
        if not honoured:
            raise Unsupported("this service ignores the precondition", where=self.name)
        return {"if-none-match": "*"} if when.create_only else _replacement(when)

    async def _look(self, key: str, pin: S3Version) -> tuple[ObjectMeta, HttpResponse]:
        """Send a HEAD. An error answer to it has no body, so a GET of one byte then finds the reason.

        The GET comes first, and mostly suffices, where the service has no checksums that the answer to a range omits.
        """
        headers = {**self._service.asking, **pin.headers}
        ranged = {**headers, "range": "bytes=0-0"}
        empty = ""
        if self._service.asking:
            answer = await self._client.send("HEAD", key, query=pin.query, headers=headers, accept=range(300, 500))
            if answer.status >= 300 or "content-length" not in answer.headers:
                answer = await self._client.send("GET", key, query=pin.query, headers=ranged, limit=1)
        else:
            try:
                answer = await self._client.send("GET", key, query=pin.query, headers=ranged, limit=1, accept=(416,))
                unread = answer.status == 416
                empty = "0" if unread else ""
            except (Unsupported, ConnectionLost):  # it is archived, or its bytes are lost: it can still be replaced
                unread = True
            if unread:
                answer = await self._client.send("HEAD", key, query=pin.query, headers=headers)
        ranged_answer = answer.status == 206 or "content-range" in answer.headers
        size = content_range(answer)[1] if ranged_answer else content_length(answer, empty)
        return meta(key, answer.headers, size, ranged=answer.status == 206), answer

    async def _past_the_end(self, key: str, start: int, pin: S3Version) -> ObjectData:
        """Return an empty read with the meta, which a 416 answer lacks (a range past the end, or of an empty object)."""
        try:
            found, answer = await self._look(key, pin)
        except PreconditionFailed as changed:
            raise VersionChanged(where=self._client.where(key)) from changed
        if found.size > start:
            raise VersionChanged(where=self._client.where(key))
        return ObjectData(await self._tagged(found, answer), b"")

    async def _whole(self, found: ObjectMeta, answer: HttpResponse) -> ObjectMeta:
        """Add the checksums and tags that the answer to a range omits."""
        if found.checksums == Checksums() and self._service.checksums:
            try:
                looked, answer = await self._look(found.key, S3Version.parse(found.version))
            except (PreconditionFailed, ObjectNotFound) as changed:
                raise VersionChanged(where=self._client.where(found.key)) from changed
            if looked.size != found.size:
                raise StoreError("the store reports two sizes of one version", where=self._client.where(found.key))
            found = looked
        return await self._tagged(found, answer)

    async def _tagged(self, found: ObjectMeta, answer: HttpResponse) -> ObjectMeta:
        if not _has_tags(answer):
            return found
        query = {"tagging": "", **S3Version.parse(found.version).query}
        document = (await self._client.send("GET", found.key, query=query)).xml()
        if not document.tag.endswith("Tagging"):
            raise StoreError("the answer has no tags", where=self._client.where(found.key), hint=OTHER_SERVER)
        tags = {tag.findtext("{*}Key", ""): tag.findtext("{*}Value", "") for tag in document.iterfind(".//{*}Tag")}
        return replace(found, attributes=replace(found.attributes, tags=tags))


def _has_tags(answer: HttpResponse) -> bool:
    return answer.headers.get("x-amz-tagging-count", "0") != "0"


def _strongest(checksums: Checksums) -> dict[str, str]:
    """Return the header of the one checksum for the server to check and keep."""
    for name, header in CHECKSUMS.items():
        if value := getattr(checksums, name):
            return {header: to_base64(value)}
    return {}


def _replacement(when: Precondition) -> dict[str, str]:
    """Return the header that requires the version to replace. Raise Unsupported for a version without an ETag."""
    demand = S3Version.parse(when.replace).headers
    if when.replace and not demand:
        raise Unsupported(f"S3 compares ETags, but version {when.replace!r} names none")
    return demand
