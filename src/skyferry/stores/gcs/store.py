"""Google Cloud Storage over its JSON API: one bucket, versions pinned by generation.

An answer with an object's bytes has no attributes, so a read with attributes takes two requests. They are sent at the same
time, and count only if they are about the same generation.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial

from skyferry.bodies import StreamedBody
from skyferry.clouds.credentials import TokenProvider
from skyferry.clouds.http import HttpResponse
from skyferry.errors import (
    ConnectionLost,
    InvalidKey,
    ObjectNotFound,
    PreconditionFailed,
    SkyferryError,
    Unsupported,
    VersionChanged,
)
from skyferry.model import (
    EXPIRES,
    FILE_MODES,
    REDIRECTS,
    AttributeLimits,
    Attributes,
    Checksums,
    ObjectMeta,
    Part,
    Traits,
    Upload,
)
from skyferry.ports import ANY, CopySource, ObjectData, Precondition
from skyferry.ports.inspection import BucketFacts
from skyferry.ports.listing import Pages, paged
from skyferry.stores.checks import check_key, translate_absence, translate_malformed
from skyferry.stores.gcs.client import GcsClient, GcsOptions
from skyferry.stores.gcs.inspection import inspect
from skyferry.stores.gcs.metadata import (
    FIELDS,
    change,
    conditions,
    exact_conditions,
    is_generation,
    meta,
    parse_range,
    resource,
)
from skyferry.stores.gcs.resumable import STEP, GcsResumable
from skyferry.stores.gcs.upload import MOST, SCRATCH, GcsUploads
from skyferry.tasks.group import TaskGroup

# "About Cloud Storage objects", object names
_FORBIDDEN = re.compile(r"[\0\r\n]")
_RESERVED = ".well-known/acme-challenge/"
TURNS = 10  # attempts to read an object that is overwritten repeatedly

TRAITS = Traits(
    checksums_returned=frozenset({"crc32c", "md5"}),
    metadata_limit=8 * 2**10,
    attributes=AttributeLimits(headers=("content_type",)),
    single_put_limit=5 * 2**40,
    max_part=5 * 2**40,
    max_parts=MOST**3,
    resumable=True,
    listed_uploads="own",
    copy_checksums=frozenset({"crc32c"}),
    copy_exact=True,
    in_place=True,
    copy_limit=5 * 2**40,
    lossy=("tags", EXPIRES, REDIRECTS, "the MD5 of large objects", FILE_MODES),
)
RESUMABLE = replace(TRAITS, parallel_parts=False, min_part=STEP, lossy=("tags", EXPIRES, REDIRECTS, FILE_MODES))


class GcsStore:
    """An ObjectStore on one bucket. Keys below `.skyferry-uploads/` belong to uploads, and are hidden."""

    def __init__(self, name: str, bucket: str, tokens: TokenProvider, options: GcsOptions) -> None:
        resumable = options.uploads == "resumable"
        self.name, self.traits = name, RESUMABLE if resumable else TRAITS
        self._client = GcsClient(name, bucket, tokens, options)
        self._composed, self._sessions = GcsUploads(self._client), GcsResumable(self._client)
        self._uploads: GcsUploads | GcsResumable = self._sessions if resumable else self._composed
        self._inspected = partial(inspect, self._client, tokens, options)
        self.copy_source: CopySource | None = CopySource(("gcs", options.endpoint, tokens), bucket)

    async def head(self, key: str) -> ObjectMeta:
        self._check(key)
        return await self._look(key)

    async def read(self, key: str, start: int, length: int, *, version: str = "") -> ObjectData:
        """Read a range. With `version` and a `start` above 0, the meta has size and version only."""
        self._check(key)
        if version and not is_generation(version):
            raise VersionChanged(f"{version!r} is no generation of Cloud Storage", where=self._client.where(key))
        try:
            if version and start:
                answer = await self._range(key, start, length, version)
                found = self._of_range(key, answer, start, length) or await self._look(key, version)
                self._require(key, found, version)
            else:
                answer, found = await self._range_and_meta(key, start, length, version)
                self._require(key, found, version or found.version)
        except ObjectNotFound as gone:
            raise (VersionChanged(where=gone.where) if version else gone) from gone
        if answer.status == 416 and found.size > start:
            raise ConnectionLost(
                "the store reports no bytes for a range within the object", where=self._client.where(key)
            )
        return ObjectData(found, b"" if answer.status == 416 else answer.body[: max(length, 0)])

    async def write(
        self, key: str, data: bytes, attributes: Attributes, checksums: Checksums, when: Precondition = ANY
    ) -> ObjectMeta:
        self._check(key, written=True)
        return meta(await self._client.insert(resource(key, attributes, checksums), data, self._conditions(key, when)))

    async def write_stream(
        self, key: str, body: StreamedBody, attributes: Attributes, checksums: Checksums, when: Precondition = ANY
    ) -> ObjectMeta:
        """Raise Unsupported: no digest of a stream is checked."""
        raise Unsupported(where=f"{self.name} {key}")

    async def start_upload(self, key: str, size: int, part_size: int, attributes: Attributes) -> Upload:
        self._check(key, written=True)
        return await self._uploads.start(key, size, part_size, attributes)

    async def write_part(self, upload: Upload, number: int, data: bytes, crc32c: str) -> Part:
        return await self._uploads.write_part(upload, number, data, crc32c)

    async def finish_upload(
        self, upload: Upload, parts: Sequence[Part], checksums: Checksums, when: Precondition = ANY
    ) -> ObjectMeta:
        return await self._uploads.finish(upload, parts, checksums, self._conditions(upload.key, when))

    async def abort_upload(self, upload: Upload) -> None:
        """Abort an upload of either kind: the setting may have changed since its start."""
        await (self._sessions if upload.secret else self._composed).abort(upload)

    async def uploaded_parts(self, upload: Upload) -> list[Part]:
        return await self._uploads.parts(upload)

    def uploads(self, prefix: str = "") -> AsyncIterator[Upload]:
        """List the uploads to compose. Cloud Storage does not list sessions, which expire after a week."""
        return self._composed.uploads(prefix)

    async def copy_from(
        self, source: CopySource, found: ObjectMeta, key: str, attributes: Attributes, when: Precondition = ANY
    ) -> ObjectMeta:
        self._check(key, written=True)
        target, demand = resource(key, attributes, Checksums()), self._conditions(key, when)
        try:
            return meta(await self._client.rewrite(source.bucket, found.key, found.version, target, demand))
        except ObjectNotFound as gone:
            raise VersionChanged(where=gone.where) from gone

    async def copy_part(self, upload: Upload, number: int, source: CopySource, found: ObjectMeta) -> Part:
        """Raise Unsupported: Cloud Storage copies objects of any size, but no parts of them."""
        raise Unsupported(where=self._client.where(upload.key))

    async def set_attributes(self, found: ObjectMeta, attributes: Attributes) -> ObjectMeta:
        self._check(found.key, written=True)
        with translate_absence(Precondition(replace=found.version)):
            return meta(await self._client.patch(found.key, change(found, attributes), exact_conditions(found)))

    async def make_folder(self, key: str) -> None:
        """Raise Unsupported: there are no folders."""
        raise Unsupported(where=self._client.where(key))

    async def delete(self, key: str, when: Precondition = ANY) -> None:
        with suppress(ObjectNotFound), translate_absence(when):
            self._check(key)
            await self._client.send("DELETE", self._client.path(key), query=self._conditions(key, when), key=key)

    @paged
    async def list(self, prefix: str = "", after: str = "") -> Pages[ObjectMeta]:
        query = {"startOffset": after} if after else {}
        async for items in self._composed.listed(prefix, query).pages:
            yield [meta(item) for item in items if item["name"] != after and not item["name"].startswith(SCRATCH)]

    async def inspect(self) -> BucketFacts:
        return await self._inspected()

    async def close(self) -> None:
        await self._client.close()

    def _check(self, key: str, *, written: bool = False) -> None:
        """Check a key. Keys of the scratch area are invalid if `written`, and else not found, so that they are never copied."""
        check_key(key, self.name)
        if _FORBIDDEN.search(key) or key in (".", "..") or key.startswith(_RESERVED):
            raise InvalidKey("Cloud Storage does not accept this name", where=self._client.where(repr(key)))
        if key.startswith(SCRATCH):
            raise (InvalidKey if written else ObjectNotFound)(
                "the key belongs to uploads", where=self._client.where(key)
            )

    def _conditions(self, key: str, when: Precondition) -> dict[str, str]:
        try:
            return conditions(when)
        except PreconditionFailed as impossible:
            raise PreconditionFailed(impossible.message, where=self._client.where(key)) from impossible

    def _require(self, key: str, found: ObjectMeta, version: str) -> None:
        if found.version != version:  # a cache in between ignores the generation
            raise VersionChanged(where=self._client.where(key))

    async def _look(self, key: str, version: str = "") -> ObjectMeta:
        query = {"fields": FIELDS, **({"generation": version} if version else {})}
        return meta((await self._client.send("GET", self._client.path(key), query=query, key=key)).json())

    async def _range(self, key: str, start: int, length: int, version: str) -> HttpResponse:
        """Read a range as stored: `Accept-Encoding: gzip` prevents decompression ("Transcoding of gzip files")."""
        length = max(length, 1)
        headers = {"range": f"bytes={start}-{start + length - 1}", "accept-encoding": "gzip"}
        query = {"alt": "media", **({"generation": version} if version else {})}
        path = self._client.path(key)
        return await self._client.send("GET", path, query=query, headers=headers, limit=length, key=key, accept=(416,))

    def _of_range(self, key: str, answer: HttpResponse, start: int, length: int) -> ObjectMeta | None:
        """Parse the answer; None for a range past the end."""
        if answer.status == 416:
            return None
        with translate_malformed(self._client.where(key)):
            found = parse_range(key, answer, start, max(length, 1))
        if found is None:
            raise ConnectionLost(f"{len(answer.body)} of {length} bytes arrived", where=self._client.where(key))
        return found

    async def _range_and_meta(self, key: str, start: int, length: int, version: str) -> tuple[HttpResponse, ObjectMeta]:
        """Read range and meta of one generation."""
        for _ in range(TURNS):
            try:
                async with TaskGroup() as group:
                    sent = group.create_task(self._range(key, start, length, version))
                    look = group.create_task(self._look(key, version))
            except* SkyferryError as failed:
                raise failed.exceptions[0] from failed
            answer, found = sent.result(), look.result()
            meta = self._of_range(key, answer, start, length)
            if meta is None and found.size <= start:
                return answer, found
            if meta is not None and (meta.version, meta.size) == (found.version, found.size):
                return answer, found
        raise VersionChanged("the object is overwritten too often", where=self._client.where(key))
