"""The routes of the JSON API."""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import Mapping
from typing import Any

from aiohttp import ClientConnectionError, web
from aiohttp.web_request import BaseRequest

from skyferry.testing.gcs.buckets import (
    CLASSES,
    Conditions,
    FakeBucket,
    FakeRefusal,
    Stored,
    format_time,
    refuse_invalid,
)
from skyferry.testing.gcs.copies import Copies, compose_object
from skyferry.testing.gcs.downloads import answer_download
from skyferry.testing.gcs.notifications import answer_notifications
from skyferry.testing.gcs.uploads import Uploads
from skyferry.testing.gcs.wire import (
    Dropped,
    Reply,
    Request,
    Script,
    answer_refusal,
    drop_connection,
    json_reply,
    send_reply,
)
from skyferry.testing.servers.proxy import Exchange, Fault

PAGE = 1000  # objects of one page at most
_NAME = re.compile(r"(?=.{3,222}\Z)[a-z0-9](?:[a-z0-9_-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9_-]{0,61}[a-z0-9])?)*")
SETTINGS = (
    *("storageClass", "versioning", "location", "labels", "lifecycle"),
    *("encryption", "retentionPolicy", "softDeletePolicy", "defaultEventBasedHold"),
)


class Gcs:
    """The whole service. `handle` is for `aiohttp.web.Server`."""

    def __init__(self, token: str = "") -> None:
        """Require the bearer `token` of all requests; "" = none is required."""
        self._token = token
        self._buckets: dict[str, FakeBucket] = {}
        self._uploads, self._copies, self._script = Uploads(), Copies(), Script()

    async def handle(self, request: BaseRequest) -> web.StreamResponse:
        """Answer any request."""
        if request.raw_path.startswith("/_fake/"):
            return await self._told(request)
        exchange, fault = self._script.begin(request.method, request.raw_path)
        parsed = Request(request, exchange, fault)
        try:
            if fault.status and not fault.forward:
                reply = Reply()  # `send` puts the planned one in its place
                if not fault.early:
                    await _drain(parsed)
            else:
                reply = await self._answer(parsed)
        except FakeRefusal as refusal:
            reply = answer_refusal(refusal, text=parsed.query.get("alt") == "media")
            await _drain(parsed)
        except (Dropped, ClientConnectionError, ConnectionError):
            return drop_connection(request)
        return await send_reply(request, reply, exchange, fault)

    async def _told(self, request: BaseRequest) -> web.StreamResponse:
        parsed = Request(request, Exchange(request.method, request.raw_path), Fault())
        try:
            if (parsed.method, parsed.segments) == ("PUT", ["_fake", "token"]):
                self._token = (await parsed.body()).decode()
                reply = Reply(204)
            else:
                reply = await self._script.tell(parsed)
        except FakeRefusal as refusal:
            reply = answer_refusal(refusal, text=True)
        return await send_reply(request, reply, Exchange("", ""), Fault())

    async def _answer(self, request: Request) -> Reply:
        if self._token and request.headers.get("authorization") != f"Bearer {self._token}":
            raise FakeRefusal(401, "authError", "Invalid Credentials")
        match request.segments:
            case ["storage" | "download", *_, "b", bucket, "o", name] if request.method == "GET":
                return self._get(request, self._bucket(bucket), name)
            case ["upload", "storage", "v1", "b", bucket, "o"]:
                return await self._uploads.answer(request, self._bucket(bucket))
            case ["storage", "v1", "b", *rest]:
                return await self._storage(request, rest)
        raise FakeRefusal(404, "notFound", "Not Found")

    async def _storage(self, request: Request, rest: list[str]) -> Reply:
        fields = request.query.get("fields", "")
        match request.method, rest:
            case "DELETE", [bucket]:
                return self._drop(request, self._bucket(bucket))
            case _, [] | [_]:
                return json_reply(await self._on_bucket(request, *rest), fields)
            case "GET", [bucket, "iam", "testPermissions"]:
                self._bucket(bucket)
                return json_reply(
                    {"kind": "storage#testIamPermissionsResponse", "permissions": request.all("permissions")}
                )
            case _, [bucket, "notificationConfigs", *which]:
                return await answer_notifications(request, self._bucket(bucket), which)
            case "GET", [bucket, "o"]:
                return json_reply(_listing(request, self._bucket(bucket)), fields)
            case "DELETE", [bucket, "o", name]:
                return _delete(request, self._bucket(bucket), name)
            case "PATCH" | "PUT" | "POST", [bucket, "o", name]:
                made = await _change(request, self._bucket(bucket), name)
                return json_reply(made.resource(bucket, request.root), fields)
            case "POST", [bucket, "o", name, "compose"]:
                made = await compose_object(request, self._bucket(bucket), name)
                return json_reply(made.resource(bucket, request.root), fields)
            case "POST", [bucket, "o", name, "copyTo" | "rewriteTo" as verb, "b", to, "o", copy]:
                source, target = self._source(request, bucket, name), self._bucket(to)
                if verb == "rewriteTo":
                    return json_reply(await self._copies.rewrite(request, source, target, copy), fields)
                made = await self._copies.copy(request, source, target, copy)
                return json_reply(made.resource(to, request.root), fields)
        raise FakeRefusal(404, "notFound", "Not Found")

    async def _on_bucket(self, request: Request, name: str = "") -> dict[str, Any]:
        match request.method:
            case "GET" if not name:
                prefix = request.query.get("prefix", "")
                found = [_bucket_resource(b) for b in self._buckets.values() if b.name.startswith(prefix)]
                return {"kind": "storage#buckets", "items": found}
            case "POST" if not name:
                return _bucket_resource(self._create(await request.document()))
            case "GET" | "PATCH":
                bucket = self._bucket(name)
                _holds(request, bucket)
                if request.method == "PATCH":
                    bucket.set(_bucket_settings(await request.document()))
                return _bucket_resource(bucket)
        raise FakeRefusal(405, "methodNotAllowed")

    def _drop(self, request: Request, bucket: FakeBucket) -> Reply:
        _holds(request, bucket)
        if not bucket.empty:
            raise FakeRefusal(409, "conflict", "The bucket you tried to delete is not empty.")
        del self._buckets[bucket.name]
        return Reply(204)

    def _create(self, given: Mapping[str, Any]) -> FakeBucket:
        name = given.get("name", "")
        if not _NAME.fullmatch(name) or name.startswith("goog") or "google" in name:
            raise refuse_invalid(f"Invalid bucket name: '{name}'")
        if name in self._buckets:
            raise FakeRefusal(409, "conflict", "Your previous request to create the named bucket succeeded.")
        bucket = self._buckets[name] = FakeBucket(name, _bucket_settings(given))
        return bucket

    def _bucket(self, name: str) -> FakeBucket:
        if name not in self._buckets:
            raise FakeRefusal(404, "notFound", "The specified bucket does not exist.")
        return self._buckets[name]

    def _source(self, request: Request, bucket: str, name: str) -> Stored:
        found = self._bucket(bucket).get(name, request.query.get("sourceGeneration", ""))
        Conditions.of(request.query, "ifSource").check(found)
        return found

    def _get(self, request: Request, bucket: FakeBucket, name: str) -> Reply:
        found = bucket.get(name, request.query.get("generation", ""))
        Conditions.of(request.query).check(found)
        if request.query.get("alt") == "media":
            return answer_download(request, found)
        return json_reply(found.resource(bucket.name, request.root), request.query.get("fields", ""))


def _delete(request: Request, bucket: FakeBucket, name: str) -> Reply:
    generation = request.query.get("generation", "")
    found = bucket.get(name, generation)
    Conditions.of(request.query).check(found)
    bucket.delete(found, for_good=bool(generation))
    return Reply(204)


async def _change(request: Request, bucket: FakeBucket, name: str) -> Stored:
    override = request.headers.get("x-http-method-override", request.method)
    given = await request.document()
    found = bucket.get(name, request.query.get("generation", ""))
    Conditions.of(request.query).check(found)
    return bucket.change(found, given, merge=override == "PATCH")


def _number(text: str) -> int:
    """Return the number in a parameter; 0 if it is absent. Raises FakeRefusal."""
    if text and not text.isdecimal():
        raise refuse_invalid(f"Invalid unsigned integer value: '{text}'.")
    return int(text or 0)


def _listing(request: Request, bucket: FakeBucket) -> dict[str, Any]:
    """Return one page. A page token is the first name of the next page."""
    query = request.query
    prefix, delimiter, end = query.get("prefix", ""), query.get("delimiter", ""), query.get("endOffset", "")
    start = max(prefix, query.get("startOffset", ""), base64.urlsafe_b64decode(query.get("pageToken", "")).decode())
    most = min(_number(query.get("maxResults", "")) or PAGE, PAGE)
    items: list[dict[str, Any]] = []
    prefixes: list[str] = []
    answer: dict[str, Any] = {"kind": "storage#objects", "items": items, "prefixes": prefixes}
    for name in bucket.names(start):
        if not name.startswith(prefix) or (end and name >= end):
            break
        found = bucket.generations(name, old=query.get("versions", "").lower() == "true")
        folder, cut, _ = name[len(prefix) :].partition(delimiter) if delimiter else ("", "", "")
        common = f"{prefix}{folder}{cut}"
        if not found or (cut and prefixes and prefixes[-1] == common):
            continue
        if len(items) + len(prefixes) >= most:
            answer["nextPageToken"] = base64.urlsafe_b64encode(name.encode()).decode()
            break
        if cut:
            prefixes.append(common)
        else:
            items.extend(each.resource(bucket.name, request.root) for each in found)
    return {name: value for name, value in answer.items() if value}


def _holds(request: Request, bucket: FakeBucket) -> None:
    """Check the request's preconditions on the bucket. Raises FakeRefusal."""
    Conditions.of(request.query).compare(0, bucket.metageneration)


def _bucket_settings(given: Mapping[str, Any]) -> dict[str, Any]:
    found = {name: given[name] for name in SETTINGS if name in given}
    if found.get("storageClass", CLASSES[0]) not in CLASSES:
        raise refuse_invalid(f"Invalid storage class: {found['storageClass']}")
    return found


def _bucket_resource(bucket: FakeBucket) -> dict[str, Any]:
    return {
        "kind": "storage#bucket",
        "id": bucket.name,
        "name": bucket.name,
        "projectNumber": "0",
        "metageneration": str(bucket.metageneration),
        "location": "US",
        "storageClass": bucket.storage_class,
        "timeCreated": format_time(bucket.created),
        "updated": format_time(bucket.updated),
        "etag": base64.b64encode(str(bucket.metageneration).encode()).decode(),
        **bucket.settings,
    }


async def _drain(request: Request) -> None:
    """Read the rest of the body, so that the client gets the refusal rather than a broken connection."""
    try:
        async with asyncio.timeout(10):
            async for _ in request.pieces():
                pass
    except (Dropped, TimeoutError, ClientConnectionError, ConnectionError):
        return
