"""Large objects as one resumable upload: parts in order, nothing to delete, the precondition fixed at the start.

    Upload.id       32 hexadecimal digits, "-", the generation of the key at the start, 0 for none
    Upload.secret   the query of the session's URL. It permits writes, so no error and no listing shows it

Source: "Resumable uploads" and "Perform resumable uploads", Cloud Storage. docs/decisions/0010-large-objects-on-cloud-storage.md
explains when it is used.
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
from skyferry.stores.gcs.errors import ERRORS, parse_error
from skyferry.stores.gcs.metadata import FIELDS, meta, resource, to_base64
from skyferry.stores.gcs.upload import verify_parts

STEP = 256 * 2**10  # bytes: before its end, a session stores multiples of this
TURNS = 10  # attempts to start an upload to a key that is overwritten repeatedly
MATCH = "ifGenerationMatch"
INCOMPLETE, CANCELLED = 308, 499  # in Cloud Storage's meaning
GONE = (404, 410, CANCELLED)
_KEPT = re.compile(r"bytes=0-(\d+)")


@dataclass(frozen=True, slots=True)
class Last(Part):
    """The last part. Its end is sent when the upload is finished, which creates the object."""

    end: bytes = field(default=b"", repr=False)  # less than a STEP


class GcsResumable:
    """The resumable uploads of a Cloud Storage store, with the methods of `GcsUploads`."""

    def __init__(self, client: GcsClient) -> None:
        self._client = client
        self._path = f"/upload/storage/v1/b/{quote(client.bucket, safe='')}/o"

    async def start(self, key: str, size: int, part_size: int, given: Attributes) -> Upload:
        """Start an upload that may replace only the current generation of the key."""
        if size > part_size and part_size % STEP:
            hint = "set limits.part_size to a multiple of 256KiB"
            raise Unsupported(
                f"a resumable upload has no parts of {part_size} bytes", where=self._where(key), hint=hint
            )
        for _ in range(TURNS):
            held = await self._generation(key)
            with suppress(PreconditionFailed):  # overwritten just now
                answer = await self._begin(resource(key, given, Checksums()), held)
                session = urlsplit(answer.headers.get("location", "")).query
                if "upload_id" not in parse_qs(session):
                    raise StoreError("the answer names no session; check that the endpoint is Cloud Storage's JSON API")
                began = seconds(answer.headers.get("date", ""))
                return Upload(f"{secrets.token_hex(16)}-{held}", key, size, part_size, given, began, session)
        raise StoreUnavailable("the object is overwritten too often", where=self._where(key))

    async def write_part(self, upload: Upload, number: int, data: bytes, crc32c: str) -> Part:
        """Send a part. The session ignores bytes that it already has."""
        offset = (number - 1) * upload.part_size
        if offset + len(data) < upload.size:
            await self._send(upload, offset, data)
            return Part(number, offset, len(data), "", crc32c)
        end = len(data) - len(data) % STEP
        await self._send(upload, offset, data[:end])
        return Last(number, offset, len(data), "", crc32c, bytes(data[end:]))

    async def finish(
        self, upload: Upload, parts: Sequence[Part], checksums: Checksums, when: Mapping[str, str]
    ) -> ObjectMeta:
        """Send the end of the object. The service, and then this method, refuse a CRC32C other than that of the parts."""
        parts = sorted(parts, key=lambda part: part.number)
        crc32c = verify_parts(upload, parts, checksums, self._where(upload.key))
        await self._hold(upload, when)
        end = parts[-1].end if parts and isinstance(parts[-1], Last) else b""
        try:
            answer = await self._send(upload, upload.size - len(end), end, crc32c)
        except PreconditionFailed as lost:
            if when:
                raise
            raise UploadGone("the upload was started over another version", where=self._where(upload.key)) from lost
        found = meta(answer.json())
        if (found.size, found.checksums.crc32c) != (upload.size, crc32c):
            with suppress(StoreError):  # if permitted, and not replaced since
                await self._client.send("DELETE", self._client.path(upload.key), query={MATCH: found.version})
            raise ChecksumMismatch("the object differs from its parts", where=self._where(upload.key))
        return found

    async def parts(self, upload: Upload) -> list[Part]:
        """List the complete parts. Only their sizes are known. Raise UploadGone if the upload is gone."""
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
        """Raise PreconditionFailed if `when` fails, or UploadGone if it is met but the session has another precondition."""
        held = upload.id.rpartition("-")[2]
        if when.get(MATCH, held) == held:
            return
        if await self._generation(upload.key) != when[MATCH]:
            raise PreconditionFailed(where=self._where(upload.key))
        raise UploadGone("the upload was started over another version", where=self._where(upload.key))

    async def _generation(self, key: str) -> str:
        """Return the generation of the key's object; "0" for none."""
        try:
            found = await self._client.send("GET", self._client.path(key), query={"fields": "generation"}, key=key)
        except ObjectNotFound:
            return "0"
        return str(found.json()["generation"])

    async def _send(self, upload: Upload, start: int, data: bytes, crc32c: str = "") -> HttpResponse:
        """Send all of `data`, from the first byte that the service lacks. With `crc32c` it is the end of the object.

        Return the last answer. Raise UploadGone or StoreUnavailable.
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
                raise UploadGone("the session lost earlier bytes", where=self._where(upload.key))
            if kept >= end and not crc32c:
                return answer
            if kept <= at < end:
                raise StoreUnavailable("the service stored none of the bytes sent", where=self._where(upload.key))
            at = min(kept, end)

    async def _ask(
        self, upload: Upload, said: str, data: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> HttpResponse:
        """Return the answer with the stored range or, when finishing, the object. Raise UploadGone if it is finished already."""
        answer = await self._session("PUT", upload, {"content-range": said, **(headers or {})}, data)
        if answer.status < 300 and said.endswith("/*"):
            raise UploadGone("the upload is already finished", where=self._where(upload.key))
        return answer

    async def _session(
        self, method: str, upload: Upload, headers: Mapping[str, str] | None = None, data: bytes = b""
    ) -> HttpResponse:
        """Send a request of the session. Its errors omit the request id, which is the session's secret."""
        if not upload.secret:  # an upload of another kind
            raise UploadGone(where=self._where(upload.key))
        query = {name: values[0] for name, values in parse_qs(upload.secret).items()}
        answer = await self._client.send(
            method, self._path, query=query, headers=headers, body=data, key=upload.key, accept=range(300, 600)
        )
        if answer.status in GONE:
            raise UploadGone(where=self._where(upload.key))
        if answer.status >= 300 and answer.status != INCOMPLETE:
            raise ERRORS.translate(replace(parse_error(answer), request_id=""), self._where(upload.key))
        return answer

    def _where(self, key: str) -> str:
        return self._client.where(key)


def _kept(answer: HttpResponse) -> int:
    """Return how many bytes from the start are stored; 0 without the header."""
    kept = _KEPT.fullmatch(answer.headers.get("range", ""))
    return int(kept[1]) + 1 if kept else 0
