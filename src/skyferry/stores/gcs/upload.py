"""Large objects: parts are separate objects under a scratch prefix, composed into one when all are written.

    .skyferry-uploads/ID            empty; its metadata describes the upload, which exists as long as this object
    .skyferry-uploads/ID/00001      a part, by its number
    .skyferry-uploads/ID/1-00001    parts composed because there are more than 32 (level, number)
    .skyferry-uploads/ID/whole      all parts, if the object gets another storage class than its parts

ID is 32 hexadecimal digits. docs/decisions/0010-large-objects-on-cloud-storage.md explains when resumable uploads are used instead.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import AsyncIterator, Awaitable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, TypeVar

from skyferry.crcs import combine_crc32c
from skyferry.errors import ChecksumMismatch, ObjectNotFound, SkyferryError, StoreError, Unsupported, UploadGone
from skyferry.model import Attributes, Checksums, ObjectMeta, Part, Upload
from skyferry.ports.listing import Pages, paged
from skyferry.stores.checks import translate_malformed
from skyferry.stores.gcs.client import GcsClient
from skyferry.stores.gcs.metadata import FIELDS, STANDARD, attributes, meta, resource, to_hex
from skyferry.stores.paging import PageGuard, outside
from skyferry.tasks.group import TaskGroup

SCRATCH = ".skyferry-uploads/"  # this store hides keys with this prefix
MOST = 32  # objects of one composition ("Composite objects", Cloud Storage)
COLD = ("NEARLINE", "COLDLINE", "ARCHIVE")  # parts in these would be billed for a month or more
AT_ONCE = 16  # requests for the parts of one upload
KEPT = "the bucket has a retention policy or default hold: the parts of a large object could not be deleted"
RESUME = "set `large_upload_mode: resumable` for this store: then there are no parts to delete"
_ID = re.compile(r"[0-9a-f]{32}")
_PART = re.compile(r"\d{5}")
T = TypeVar("T")


class GcsUploads:
    """The composed uploads of a Cloud Storage store."""

    def __init__(self, client: GcsClient) -> None:
        self._client = client

    async def start(self, key: str, size: int, part_size: int, given: Attributes) -> Upload:
        upload_id = secrets.token_hex(16)
        says = {"skyferry-key": key, "skyferry-size": str(size), "skyferry-part-size": str(part_size)}
        plan = Attributes(metadata=says, storage_class=given.storage_class)
        made = await self._client.insert(resource(_name(upload_id), plan, Checksums()), b"", {})
        if made.get("retentionExpirationTime") or made.get("eventBasedHold"):  # as would each part
            with suppress(StoreError):
                await self._delete(_name(upload_id))
            raise Unsupported(KEPT, where=self._client.where(key), hint=RESUME)
        given = replace(given, storage_class=attributes(made).storage_class)  # which may be the bucket's default
        return Upload(upload_id, key, size, part_size, given, meta(made).modified)

    async def write_part(self, upload: Upload, number: int, data: bytes, crc32c: str) -> Part:
        name = _name(upload.id, f"{number:05d}")
        given = Attributes(storage_class=_class_of_parts(upload))
        made = await self._client.insert(resource(name, given, Checksums(crc32c=crc32c)), data, {})
        try:  # after the write: an abort from now on finds this part
            await self._look(upload)
        except UploadGone:
            await self._delete(name, made["generation"])
            raise
        offset = (number - 1) * upload.part_size
        return Part(number, offset, len(data), made["generation"], to_hex(made["crc32c"]))

    async def finish(
        self, upload: Upload, parts: Sequence[Part], checksums: Checksums, when: Mapping[str, str]
    ) -> ObjectMeta:
        """Compose the object. Raise ChecksumMismatch before it is visible: the CRCs of the parts give that of the whole."""
        parts = sorted(parts, key=lambda part: part.number)
        crc32c = verify_parts(upload, parts, checksums, self._client.where(upload.key))
        await self._look(upload)
        sources = await self._few(upload, [_source(_name(upload.id, f"{p.number:05d}"), p.tag) for p in parts])
        target = resource(upload.key, upload.attributes, Checksums())
        if not sources:
            made = await self._client.insert(target, b"", when)
        elif _class_of_parts(upload) == upload.attributes.storage_class:
            made = await self._compose(upload, sources, target, when)
        else:
            parts_class = {**target, "name": _name(upload.id, "whole"), "storageClass": STANDARD}
            whole = await self._compose(upload, sources, parts_class, {})
            made = await self._client.rewrite(self._client.bucket, whole["name"], whole["generation"], target, when)
        found = meta(made)
        if crc32c and found.checksums.crc32c != crc32c:
            raise ChecksumMismatch("the composed object differs from its parts", where=self._client.where(upload.key))
        with suppress(StoreError):  # the object is complete; leftover parts are found by age
            await self.abort(upload)
        return found

    async def abort(self, upload: Upload) -> None:
        """Delete the upload. Its first object is deleted before the last search for parts: see `write_part`."""
        if _ID.fullmatch(upload.id):
            await self._delete_parts(upload)
            await self._delete(_name(upload.id))
            await self._delete_parts(upload)

    async def parts(self, upload: Upload) -> list[Part]:
        """List the stored parts in order. Raise UploadGone if the upload is gone."""
        await self._look(upload)
        found: list[Part] = []
        async for item in self.listed(_name(upload.id, "")):
            label = item["name"].rpartition("/")[2]
            if _PART.fullmatch(label):
                with translate_malformed(self._client.where(upload.key)):
                    number, crc32c = int(label), to_hex(item["crc32c"])
                    offset = (number - 1) * upload.part_size
                    found.append(Part(number, offset, int(item["size"]), item["generation"], crc32c))
        return found

    async def uploads(self, prefix: str = "") -> AsyncIterator[Upload]:
        """List the unfinished uploads in no order. Their attributes are unknown."""
        async for item in self.listed(SCRATCH, {"delimiter": "/"}):
            says = item.get("metadata", {})
            key = says.get("skyferry-key", "")
            if key.startswith(prefix):
                size, part_size = int(says.get("skyferry-size", 0)), int(says.get("skyferry-part-size", 0))
                upload_id = item["name"].removeprefix(SCRATCH)
                yield Upload(upload_id, key, size, part_size, started_at=meta(item).modified)

    @paged
    async def listed(self, prefix: str, query: Mapping[str, str] | None = None) -> Pages[dict[str, Any]]:
        """List object resources by name, including scratch objects."""
        asked = {
            "prefix": prefix,
            "maxResults": "1000",
            "fields": f"kind,nextPageToken,items({FIELDS})",
            **(query or {}),
        }
        pages = PageGuard(self._client.where(""))
        while True:
            page = (await self._client.send("GET", self._client.path(), query=asked)).json()
            if not isinstance(page, dict) or page.get("kind") != "storage#objects":  # must not pass for an empty bucket
                raise StoreError("the answer is no listing; check whether another server answers at this endpoint")
            items = page.get("items", [])
            with translate_malformed(self._client.where("")):
                names = [item["name"] for item in items]
                if other := next((name for name in names if not name.startswith(prefix)), None):
                    raise outside(other, prefix, self._client.where(""))
            yield items
            if not (token := pages.turn(page.get("nextPageToken", ""), names[0] if names else "")):
                return
            asked["pageToken"] = token

    async def _few(self, upload: Upload, sources: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Reduce the sources to as many as one composition accepts, by composing them level by level."""
        level = 0
        while len(sources) > MOST:
            level += 1
            targets = [
                resource(
                    _name(upload.id, f"{level}-{number:05d}"),
                    Attributes(storage_class=_class_of_parts(upload)),
                    Checksums(),
                )
                for number in range(1, -(-len(sources) // MOST) + 1)
            ]
            made = await _run_all(
                self._compose(upload, sources[n * MOST : (n + 1) * MOST], target, {})
                for n, target in enumerate(targets)
            )
            sources = [_source(each["name"], each["generation"]) for each in made]
        return sources

    async def _compose(
        self, upload: Upload, sources: list[dict[str, Any]], target: dict[str, Any], when: Mapping[str, str]
    ) -> Any:
        document = {"kind": "storage#composeRequest", "destination": target, "sourceObjects": sources}
        query = {"fields": FIELDS, **self._client.encryption("kmsKeyName"), **when}
        try:
            return await self._client.post(f"{self._client.path(target['name'])}/compose", document, query, upload.key)
        except ObjectNotFound as gone:
            raise UploadGone("a part of the upload is missing", where=self._client.where(upload.key)) from gone

    async def _look(self, upload: Upload) -> None:
        """Raise UploadGone if the upload is gone."""
        try:
            await self._client.send(
                "GET", self._client.path(_name(upload.id)), query={"fields": "generation"}, key=upload.key
            )
        except ObjectNotFound as gone:
            raise UploadGone(where=self._client.where(upload.key)) from gone

    async def _delete_parts(self, upload: Upload) -> None:
        """Delete all parts, including old generations, which a bucket with versioning keeps."""
        batch: list[Awaitable[None]] = []
        async for item in self.listed(_name(upload.id, ""), {"versions": "true"}):
            batch.append(self._delete(item["name"], item["generation"]))
            if len(batch) == 1000:
                await _run_all(batch)
                batch = []
        await _run_all(batch)

    async def _delete(self, name: str, generation: str = "") -> None:
        query = {"generation": generation} if generation else {}
        with suppress(ObjectNotFound):
            await self._client.send("DELETE", self._client.path(name), query=query, key=name)


def _name(upload_id: str, part: str | None = None) -> str:
    return f"{SCRATCH}{upload_id}" if part is None else f"{SCRATCH}{upload_id}/{part}"


def _source(name: str, generation: str) -> dict[str, Any]:
    return {"name": name, "generation": generation}


def _class_of_parts(upload: Upload) -> str:
    wanted = upload.attributes.storage_class
    return STANDARD if wanted in COLD else wanted


def verify_parts(upload: Upload, parts: Sequence[Part], checksums: Checksums, where: str) -> str:
    """Combine the CRC32Cs of verified parts to that of the whole. Raise StoreError unless they cover the object."""
    end, crc = 0, 0
    for part in parts:
        if part.offset != end:
            raise StoreError(f"part {part.number} does not follow on byte {end}", where=where)
        crc = combine_crc32c(crc, int(part.crc32c, 16), part.size)
        end += part.size
    if end != upload.size:
        raise StoreError(f"the parts have {end} bytes of {upload.size}", where=where)
    if checksums.crc32c and int(checksums.crc32c, 16) != crc:
        raise ChecksumMismatch("the parts are not those of the declared object", where=where)
    return f"{crc:08x}"


async def _run_all(requests: Iterable[Awaitable[T]]) -> list[T]:
    """Run requests, at most AT_ONCE at the same time. Return their results in order."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def run(request: Awaitable[T]) -> T:
        async with gate:
            return await request

    try:
        async with TaskGroup() as group:
            tasks = [group.create_task(run(request)) for request in requests]
    except* SkyferryError as failed:
        raise failed.exceptions[0] from failed
    return [task.result() for task in tasks]
