"""The three ways to write an object: media, multipart/related, resumable."""

from __future__ import annotations

import email.parser
import re
import secrets
from collections.abc import Mapping
from dataclasses import field
from typing import Any
from urllib.parse import urlencode

import orjson

from skyferry.frozen import dataclass
from skyferry.testing.gcs import body
from skyferry.testing.gcs.body import Body
from skyferry.testing.gcs.buckets import Conditions, FakeBucket, FakeRefusal, Stored, refuse_invalid
from skyferry.testing.gcs.wire import Reply, Request, json_reply

STEP = 256 * 2**10  # bytes: a resumable upload keeps multiples of it
_RANGE = re.compile(r"bytes (?:(\d+)-(\d+|\*)|\*)/(\d+|\*)")


@dataclass(slots=True)
class Session:
    """A resumable upload under way, or done."""

    bucket: str
    given: dict[str, Any]
    query: Mapping[str, str]
    pieces: list[bytes] = field(default_factory=list)
    size: int = 0  # bytes kept
    made: Stored | None = None
    cancelled: bool = False

    def keep(self, data: bytes, *, all_: bool) -> None:
        """Keep the received bytes, in whole steps unless they are the last."""
        end = self.size + len(data)
        data = data[: len(data) if all_ else max(end - end % STEP - self.size, 0)]
        if data:
            self.pieces.append(data)
            self.size += len(data)


class Uploads:
    """Requests to /upload/storage/v1/b/BUCKET/o."""

    def __init__(self) -> None:
        self._sessions: dict[str, Session] = {}

    async def answer(self, request: Request, bucket: FakeBucket) -> Reply:
        """Answer a request."""
        if session_id := request.query.get("upload_id"):
            return await self._resume(request, bucket, session_id)
        if request.method != "POST":
            raise FakeRefusal(405, "methodNotAllowed")
        match request.query.get("uploadType"):
            case "media":
                given = {"contentType": request.headers.get("content-type", ""), **_hashes(request)}
                given["contentEncoding"] = request.query.get("contentEncoding", "")
                return _made(request, bucket, given, await request.body())
            case "multipart":
                return _made(request, bucket, *_related(request, await request.body()))
            case "resumable":
                return await self._start(request, bucket)
        raise refuse_invalid("Upload type is required: media, multipart or resumable.")

    async def _start(self, request: Request, bucket: FakeBucket) -> Reply:
        given = await request.document()
        given.setdefault("contentType", request.headers.get("x-upload-content-type", ""))
        name = _name(request, given)
        session_id = secrets.token_hex(24)
        self._sessions[session_id] = Session(bucket.name, given, dict(request.query))
        query = urlencode({"uploadType": "resumable", "name": name, "upload_id": session_id})
        headers = {
            "location": f"{request.root}/upload/storage/v1/b/{bucket.name}/o?{query}",
            "x-guploader-uploadid": session_id,
        }
        return Reply(200, headers)

    async def _resume(self, request: Request, bucket: FakeBucket, session_id: str) -> Reply:
        session = self._sessions.get(session_id)
        if session is None or session.bucket != bucket.name:
            raise FakeRefusal(404, "notFound", "No such upload")
        if session.cancelled or request.method == "DELETE":
            session.cancelled, session.pieces = True, []
            return Reply(499)
        if session.made is not None:
            return json_reply(session.made.resource(bucket.name, request.root), session.query.get("fields", ""))
        start, total = _content_range(request, session)
        came = bytearray()
        try:
            async for piece in request.pieces():
                came += piece
        finally:  # also of a connection that broke
            fresh = bytes(came[max(session.size - start, 0) :])
            if start <= session.size:
                session.keep(fresh, all_=total is not None and session.size + len(fresh) == total)
        if start > session.size:
            raise refuse_invalid(f"Invalid request. The upload goes on at byte {session.size}.")
        if total is not None and max(session.size, start + len(came)) > total:
            raise refuse_invalid("More bytes came than were announced.")
        if total is None or session.size < total:
            kept = {"range": f"bytes=0-{session.size - 1}"} if session.size else {}
            return Reply(308, kept)
        given = {**session.given, **_hashes(request)}
        reply, session.made = _write(request, bucket, given, body.make_body(session.pieces), session.query)
        session.pieces = []
        return reply


def _made(request: Request, bucket: FakeBucket, given: Mapping[str, Any], data: bytes) -> Reply:
    return _write(request, bucket, given, body.make_body([data] if data else []), request.query)[0]


def _write(
    request: Request, bucket: FakeBucket, given: Mapping[str, Any], content: Body, query: Mapping[str, str]
) -> tuple[Reply, Stored]:
    _check_digests(given, content)
    name = given.get("name") or query.get("name", "")
    kms_key = query.get("kmsKeyName", "") or given.get("kmsKeyName", "")
    made = bucket.put(name, content, given, Conditions.of(query), kms_key)
    return json_reply(made.resource(bucket.name, request.root), query.get("fields", "")), made


def _name(request: Request, given: Mapping[str, Any]) -> str:
    name = given.get("name") or request.query.get("name")
    if not name:
        raise FakeRefusal(400, "required", "Required: an object name")
    return str(name)


def _check_digests(given: Mapping[str, Any], content: Body) -> None:
    """Raise FakeRefusal, as the service does, for a body that differs from its declared digests."""
    for what, wanted, found in (
        ("CRC32C", given.get("crc32c"), content.crc32c),
        ("MD5 hash", given.get("md5Hash"), content.md5),
    ):
        if wanted and wanted != found:
            raise refuse_invalid(f'Provided {what} "{wanted}" doesn\'t match calculated {what} "{found}".')


def _hashes(request: Request) -> dict[str, str]:
    """Of X-Goog-Hash: crc32c=...,md5=..."""
    given = dict(
        part.strip().split("=", 1)
        for value in request.headers.getall("x-goog-hash", [])
        for part in value.split(",")
        if "=" in part
    )
    names = {"crc32c": "crc32c", "md5": "md5Hash"}
    return {names[kind]: value for kind, value in given.items() if kind in names}


def _content_range(request: Request, session: Session) -> tuple[int, int | None]:
    """Return the offset of the request's bytes, and the object's size if the request has it."""
    given = request.headers.get("content-range", "")
    if not given:
        length = int(request.headers.get("content-length", 0))
        return 0, length
    matched = _RANGE.fullmatch(given)
    if matched is None:
        raise refuse_invalid(f"Invalid Content-Range: {given}")
    start, _, total = matched.groups()
    return session.size if start is None else int(start), None if total == "*" else int(total)


def _related(request: Request, content: bytes) -> tuple[dict[str, Any], bytes]:
    """Resource and bytes of a multipart/related body (RFC 2387)."""
    header = email.parser.HeaderParser()
    kind = header.parsestr(f"content-type: {request.headers.get('content-type', '')}\r\n\r\n")
    boundary = kind.get_boundary("").strip("'")
    mark = b"--" + boundary.encode()
    first = content.find(mark)
    line = b"\r\n" if content.startswith(b"\r\n", first + len(mark)) else b"\n"  # so gcloud's are, in single quotes
    gap = line * 2
    second = content.find(line + mark, first + len(mark))
    document, data = content.find(gap, first), content.find(gap, second)
    end = content.rfind(line + mark + b"--")
    if not boundary or not 0 <= first < document < second < data < end + len(gap):
        raise refuse_invalid("Malformed multipart body.")
    headers = header.parsestr(content[second + len(line + mark) : data].decode("latin-1").lstrip())
    try:
        given = orjson.loads(content[document + len(gap) : second])
    except orjson.JSONDecodeError as broken:
        raise FakeRefusal(400, "parseError", "Parse Error") from broken
    given.setdefault("contentType", headers.get("content-type", ""))
    given.setdefault("name", request.query.get("name", ""))
    return given, content[data + len(gap) : end]
