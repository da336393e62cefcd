"""Large objects as one resumable upload: its parts in order, nothing to be deleted, the precondition known at its start.

    Upload.id       32 hexadecimal digits, "-", the generation that the key held at the start, 0 for none
    Upload.secret   the query of the session's URL: who has it may write, so no error and no listing shows it

Source: "Resumable uploads" and "Perform resumable uploads", Cloud Storage. docs/decisions/0010-large-objects-on-cloud-storage.md
says when it is used.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import field, replace
from urllib.parse import parse_qs, quote, urlsplit

import orjson

from skyferry.clouds.http import HttpResponse, seconds
from skyferry.errors import (
    ChecksumMismatch,
    ObjectNotFound,
    PreconditionFailed,
    StoreError,
    StoreUnavailable,
    Unsupported,
    UploadGone,
)
from skyferry.frozen import dataclass
from skyferry.model import Attributes, Checksums, ObjectMeta, Part, Upload
from skyferry.stores.gcs.client import GcsClient
from skyferry.stores.gcs.errors import parse_error, translate_error
from skyferry.stores.gcs.metadata import FIELDS, meta, resource, to_base64
from skyferry.stores.gcs.upload import proven

STEP = 256 * 2**10  # bytes: what a session keeps before its end is a multiple of it
TURNS = 10  # tries to begin an upload to a key that is overwritten again and again
MATCH = "ifGenerationMatch"
INCOMPLETE, CANCELLED = 308, 499  # what Cloud Storage means by them
GONE = (404, 410, CANCELLED)
_KEPT = re.compile(r"bytes=0-(\d+)")


@dataclass(frozen=True, slots=True)
class Last(Part):
    """The last part. Its end is sent when the upload is finished: with it the object appears."""

    end: bytes = field(default=b"", repr=False)  # less than a STEP


class GcsResumable:
    """The large half of a Cloud Storage store, as `GcsUploads`."""

    def __init__(self, client: GcsClient) -> None:
        self._client = client
        self._path = f"/upload/storage/v1/b/{quote(client.bucket, safe='')}/o"

    async def start(self, key: str, size: int, part_size: int, given: Attributes) -> Upload:
        """Over what the key holds now, and nothing else."""
        if size > part_size and part_size % STEP:
            hint = "let limits.part_size be a multiple of 256KiB"
            raise Unsupported(
                f"a resumable upload has no parts of {part_size} bytes", where=self._where(key), hint=hint
            )
        for _ in range(TURNS):
            held = await self._generation(key)
            with suppress(PreconditionFailed):  # it was overwritten just now
                answer = await self._begin(resource(key, given, Checksums()), held)
                session = urlsplit(answer.headers.get("location", "")).query
                if "upload_id" not in parse_qs(session):
                    raise StoreError("the answer names no session: is this Cloud Storage's JSON API?")
                began = seconds(answer.headers.get("date", ""))
                return Upload(f"{secrets.token_hex(16)}-{held}", key, size, part_size, given, began, session)
        raise StoreUnavailable("it is overwritten all the time", where=self._where(key))

    async def write_part(self, upload: Upload, number: int, data: bytes, crc32c: str) -> Part:
        """What the session has of it already is ignored there."""
        offset = (number - 1) * upload.part_size
        if offset + len(data) < upload.size:
            await self._send(upload, offset, data)
            return Part(number, offset, len(data), "", crc32c)
        end = len(data) - len(data) % STEP
        await self._send(upload, offset, data[:end])
        return Last(number, offset, len(data), "", crc32c, data[end:])

    async def finish(
        self, upload: Upload, parts: Sequence[Part], checksums: Checksums, when: Mapping[str, str]
    ) -> ObjectMeta:
        """The service refuses what has another CRC32C than the parts together, and so do we, should it not."""
        parts = sorted(parts, key=lambda part: part.number)
        crc32c = proven(upload, parts, checksums, self._where(upload.key))
        await self._hold(upload, when)
        end = parts[-1].end if parts and isinstance(parts[-1], Last) else b""
        try:
            answer = await self._send(upload, upload.size - len(end), end, crc32c)
        except PreconditionFailed as lost:
            if when:
                raise
            raise UploadGone("it was begun over another version", where=self._where(upload.key)) from lost
        found = meta(answer.json())
        if (found.size, found.checksums.crc32c) != (upload.size, crc32c):
            with suppress(StoreError):  # where we may, and nobody has replaced it
                await self._client.send("DELETE", self._client.path(upload.key), query={MATCH: found.version})
            raise ChecksumMismatch("the upload became something else", where=self._where(upload.key))
        return found

    async def parts(self, upload: Upload) -> list[Part]:
        """Whole parts, of which nothing but their sizes is known. Raises UploadGone."""
        kept = _kept(await self._ask(upload, "bytes */*"))
        found = []
        for number in range(1, -(-kept // upload.part_size) + 1):
            offset = (number - 1) * upload.part_size
            size = min(upload.part_size, upload.size - offset)
            if offset + size <= kept:
                found.append(Part(number, offset, size, ""))
        return found

    async def abort(self, upload: Upload) -> None:
        with suppress(UploadGone):
            await self._session("DELETE", upload)

    async def _begin(self, target: dict[str, object], held: str) -> HttpResponse:
        query = {"uploadType": "resumable", "fields": FIELDS, MATCH: held, **self._client.encryption("kmsKeyName")}
        headers = {"content-type": "application/json; charset=utf-8"}
        body, key = orjson.dumps(target), str(target["name"])
        return await self._client.send("POST", self._path, query=query, headers=headers, body=body, key=key)

    async def _hold(self, upload: Upload, when: Mapping[str, str]) -> None:
        """Raises PreconditionFailed if `when` does not hold, UploadGone if it does and the session cannot hold to it."""
        held = upload.id.rpartition("-")[2]
        if when.get(MATCH, held) == held:
            return
        if await self._generation(upload.key) != when[MATCH]:
            raise PreconditionFailed(where=self._where(upload.key))
        raise UploadGone("it was begun over another version", where=self._where(upload.key))

    async def _generation(self, key: str) -> str:
        """Of what the key holds; "0" for nothing."""
        try:
            found = await self._client.send("GET", self._client.path(key), query={"fields": "generation"}, key=key)
        except ObjectNotFound:
            return "0"
        return str(found.json()["generation"])

    async def _send(self, upload: Upload, start: int, data: bytes, crc32c: str = "") -> HttpResponse:
        """All of `data`, from where the service has kept what came before; with its CRC32C it is the end of the object.

        The last answer. Raises UploadGone, StoreUnavailable.
        """
        end, total = start + len(data), str(upload.size) if crc32c else "*"
        headers = {"x-goog-hash": f"crc32c={to_base64(crc32c)}"} if crc32c else {}
        at = start
        while True:
            said = f"bytes {at}-{end - 1}/{total}" if at < end else f"bytes */{total}"
            answer = await self._ask(upload, said, data[at - start :], headers)
            if answer.status != INCOMPLETE:
                return answer
            kept = _kept(answer)
            if kept < start or (crc32c and at == end):
                raise UploadGone("it has not kept what came before", where=self._where(upload.key))
            if kept >= end and not crc32c:
                return answer
            if kept <= at < end:
                raise StoreUnavailable("nothing was kept of what was sent", where=self._where(upload.key))
            at = min(kept, end)

    async def _ask(
        self, upload: Upload, said: str, data: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> HttpResponse:
        """How much of the session is kept, or the object that came of it: only who finishes it expects that."""
        answer = await self._session("PUT", upload, {"content-range": said, **(headers or {})}, data)
        if answer.status < 300 and said.endswith("/*"):
            raise UploadGone("it was finished", where=self._where(upload.key))
        return answer

    async def _session(
        self, method: str, upload: Upload, headers: Mapping[str, str] | None = None, data: bytes = b""
    ) -> HttpResponse:
        """No error shows the id of its request: that is the session's own."""
        if not upload.secret:  # it is of another kind
            raise UploadGone(where=self._where(upload.key))
        query = {name: values[0] for name, values in parse_qs(upload.secret).items()}
        answer = await self._client.send(
            method, self._path, query=query, headers=headers, body=data, key=upload.key, accept=range(300, 600)
        )
        if answer.status in GONE:
            raise UploadGone(where=self._where(upload.key))
        if answer.status >= 300 and answer.status != INCOMPLETE:
            raise translate_error(replace(parse_error(answer), request_id=""), self._where(upload.key))
        return answer

    def _where(self, key: str) -> str:
        return self._client.where(key)


def _kept(answer: HttpResponse) -> int:
    """Bytes from the beginning on; without the header it is none."""
    told = _KEPT.fullmatch(answer.headers.get("range", ""))
    return int(told[1]) + 1 if told else 0
