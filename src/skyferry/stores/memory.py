"""A bucket in memory for tests, simulations and trials. Its objects live as long as the MemoryBucket."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Sequence
from dataclasses import field, replace

from skyferry import crcs
from skyferry.bodies import StreamedBody, collect
from skyferry.errors import (
    BucketNotFound,
    ChecksumMismatch,
    InvalidKey,
    ObjectNotFound,
    PreconditionFailed,
    Unsupported,
    UploadGone,
    VersionChanged,
)
from skyferry.frozen import dataclass
from skyferry.model import FILE_MODES, Attributes, Checksums, ObjectMeta, Position, Traits
from skyferry.ports import ANY, Clock, CopySource, ObjectData, Part, Precondition, Upload

COPYABLE = frozenset({"crc32c"})


@dataclass(slots=True)
class MemoryBucket:
    """The objects behind the port, where tests seed and inspect them. Several stores may share one bucket."""

    name: str = "bucket"
    exists: bool = True
    versioned: bool = False  # old versions can still be read
    objects: dict[str, tuple[ObjectMeta, bytes]] = field(default_factory=dict)
    old: dict[tuple[str, str], tuple[ObjectMeta, bytes]] = field(default_factory=dict)  # by key and version
    uploads: dict[str, dict[int, bytes]] = field(default_factory=dict)  # parts by upload id
    begun: dict[str, Upload] = field(default_factory=dict)
    count: itertools.count[int] = field(default_factory=lambda: itertools.count(1))


@dataclass(slots=True)
class MemoryProvider:
    """A provider of several buckets, which allows server-side copies between them."""

    buckets: dict[str, MemoryBucket] = field(default_factory=dict)  # by the name of their store


class MemoryStore:
    """An ObjectStore with generation numbers as versions, as in Cloud Storage. It returns CRC32C."""

    traits = Traits(streamed_digests=COPYABLE, resumable=True, listed_uploads="own", in_place=True, lossy=(FILE_MODES,))

    def __init__(
        self, name: str, clock: Clock, bucket: MemoryBucket | None = None, provider: MemoryProvider | None = None
    ) -> None:
        """Stores of one `provider` support server-side copies between each other."""
        self.name, self._clock, self._provider = name, clock, provider
        self.bucket = bucket or MemoryBucket(name)
        self.copy_source: CopySource | None = None
        if provider is not None:
            provider.buckets[name] = self.bucket
            self.copy_source = CopySource(id(provider), name)
            self.traits = replace(self.traits, copy_checksums=COPYABLE, copy_exact=True, part_copy_checksums=COPYABLE)

    async def head(self, key: str) -> ObjectMeta:
        return self._get(key)[0]

    async def read(self, key: str, start: int, length: int, *, version: str = "") -> ObjectData:
        self._check(key)
        if version and (key, version) in self.bucket.old:
            meta, data = self.bucket.old[key, version]
        else:
            meta, data = self._get(key)
        if version and version != meta.version:
            raise VersionChanged(where=f"{self.name} {key}")
        return ObjectData(meta, data[start : start + length])

    async def write(
        self, key: str, data: bytes, attributes: Attributes, checksums: Checksums, when: Precondition = ANY
    ) -> ObjectMeta:
        self._check(key)
        self._demand(key, when)
        return self._put(key, data, attributes, checksums)

    async def write_stream(
        self, key: str, body: StreamedBody, attributes: Attributes, checksums: Checksums, when: Precondition = ANY
    ) -> ObjectMeta:
        return await self.write(key, await collect(body), attributes, checksums, when)

    async def start_upload(self, key: str, size: int, part_size: int, attributes: Attributes) -> Upload:
        self._check(key)
        upload = Upload(f"upload-{next(self.bucket.count)}", key, size, part_size, attributes, self._clock.time())
        self.bucket.uploads[upload.id], self.bucket.begun[upload.id] = {}, upload
        return upload

    async def write_part(self, upload: Upload, number: int, data: bytes, crc32c: str) -> Part:
        parts, offset = self._parts(upload), (number - 1) * upload.part_size
        if number < 1 or len(data) != min(upload.part_size, upload.size - offset):
            raise ChecksumMismatch(f"part {number} has {len(data)} bytes", where=f"{self.name} {upload.key}")
        self._verify(upload.key, data, Checksums(crc32c=crc32c))
        parts[number] = data
        return _part(upload, number, data)

    async def finish_upload(
        self, upload: Upload, parts: Sequence[Part], checksums: Checksums, when: Precondition = ANY
    ) -> ObjectMeta:
        held = self._parts(upload)
        self._demand(upload.key, when)
        data = b"".join(held.get(number, b"") for number in sorted({part.number for part in parts}))
        if len(data) != upload.size:
            raise ChecksumMismatch("the parts are not those of the object", where=f"{self.name} {upload.key}")
        meta = self._put(upload.key, data, upload.attributes, checksums)
        await self.abort_upload(upload)
        return meta

    async def abort_upload(self, upload: Upload) -> None:
        self.bucket.uploads.pop(upload.id, None)
        self.bucket.begun.pop(upload.id, None)

    async def uploaded_parts(self, upload: Upload) -> list[Part]:
        return [_part(upload, number, data) for number, data in sorted(self._parts(upload).items())]

    async def uploads(self, prefix: str = "") -> AsyncIterator[Upload]:
        self._check_bucket()
        for upload in list(self.bucket.begun.values()):
            if upload.key.startswith(prefix):
                yield upload

    async def copy_from(
        self, source: CopySource, found: ObjectMeta, key: str, attributes: Attributes, when: Precondition = ANY
    ) -> ObjectMeta:
        return await self.write(key, await self._fetch(source, found, 0, found.size), attributes, Checksums(), when)

    async def copy_part(self, upload: Upload, number: int, source: CopySource, found: ObjectMeta) -> Part:
        data = await self._fetch(source, found, (number - 1) * upload.part_size, upload.part_size)
        return await self.write_part(upload, number, data, "")

    async def set_attributes(self, found: ObjectMeta, attributes: Attributes) -> ObjectMeta:
        """Keep the version, and count the change in the position, as Cloud Storage does."""
        self._demand(found.key, Precondition(replace=found.version))
        held, data = self._get(found.key)
        if held.position != found.position:
            raise PreconditionFailed(where=f"{self.name} {found.key}")
        generation, _, change = held.position.value.partition(".") if held.position else ("", "", "0")
        position = Position("gcs-generation", f"{generation}.{int(change) + 1:020d}")
        attributes = replace(attributes, storage_class=held.attributes.storage_class)
        made = replace(held, modified=self._clock.time(), position=position, attributes=attributes)
        self.bucket.objects[found.key] = (made, data)
        return made

    async def make_folder(self, key: str) -> None:
        """Raise Unsupported: there are no folders."""
        raise Unsupported(where=f"{self.name} {key}")

    async def delete(self, key: str, when: Precondition = ANY) -> None:
        self._check(key)
        self._demand(key, when)
        self._keep(key)
        self.bucket.objects.pop(key, None)

    async def list(self, prefix: str = "", after: str = "") -> AsyncIterator[ObjectMeta]:
        self._check_bucket()
        for key in sorted(self.bucket.objects, key=lambda k: k.encode()):
            if key.startswith(prefix) and key.encode() > after.encode() and (found := self.bucket.objects.get(key)):
                yield found[0]

    async def close(self) -> None:
        """Nothing to free."""

    def _check(self, key: str) -> None:
        self._check_bucket()
        try:
            fits = 1 <= len(key.encode()) <= 1024 and "\0" not in key
        except UnicodeEncodeError:
            fits = False
        if not fits:
            raise InvalidKey("a key has 1 to 1,024 bytes of UTF-8 and no NUL", where=f"{self.name} {key[:80]!a}")

    def _check_bucket(self) -> None:
        if not self.bucket.exists:
            raise BucketNotFound(where=self.bucket.name)

    def _parts(self, upload: Upload) -> dict[int, bytes]:
        self._check_bucket()
        if upload.id not in self.bucket.uploads:
            raise UploadGone(where=f"{self.name} {upload.key}")
        return self.bucket.uploads[upload.id]

    async def _fetch(self, source: CopySource, found: ObjectMeta, start: int, length: int) -> bytes:
        if self._provider is None:
            raise Unsupported(where=self.name)
        there = MemoryStore(source.bucket, self._clock, self._provider.buckets[source.bucket])
        try:
            return (await there.read(found.key, start, length, version=found.version)).data
        except ObjectNotFound as gone:
            raise VersionChanged(gone.message, where=gone.where) from gone

    def _keep(self, key: str) -> None:
        if self.bucket.versioned and key in self.bucket.objects:
            meta, data = self.bucket.objects[key]
            self.bucket.old[key, meta.version] = (meta, data)

    def _get(self, key: str) -> tuple[ObjectMeta, bytes]:
        self._check(key)
        if key not in self.bucket.objects:
            raise ObjectNotFound(where=f"{self.name} {key}")
        return self.bucket.objects[key]

    def _demand(self, key: str, when: Precondition) -> None:
        held = self.bucket.objects.get(key)
        if (when.create_only and held) or (when.replace and (held is None or held[0].version != when.replace)):
            raise PreconditionFailed(where=f"{self.name} {key}")

    def _put(self, key: str, data: bytes, attributes: Attributes, declared: Checksums) -> ObjectMeta:
        own = self._verify(key, data, declared)
        generation = next(self.bucket.count)
        position = Position("gcs-generation", f"{generation:020d}.{1:020d}")
        meta = ObjectMeta(key, len(data), str(generation), self._clock.time(), position, own, attributes)
        self._keep(key)
        self.bucket.objects[key] = (meta, bytes(data))
        return meta

    def _verify(self, key: str, data: bytes, declared: Checksums) -> Checksums:
        own = Checksums(crc32c=f"{crcs.crc32c(data):08x}")
        if name := own.find_conflict(declared):
            raise ChecksumMismatch(f"{name} of the body is not the one declared", where=f"{self.name} {key}")
        return own


def _part(upload: Upload, number: int, data: bytes) -> Part:
    held = f"{crcs.crc32c(data):08x}"
    return Part(number, (number - 1) * upload.part_size, len(data), held, held)
