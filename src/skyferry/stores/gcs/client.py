"""Requests of the JSON API to one bucket, each sent once. An expired bearer token is renewed."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping
from typing import Any
from urllib.parse import quote, urlencode

import orjson

from skyferry.clouds.credentials import TokenProvider, call_authorized
from skyferry.clouds.errors import find_expiry
from skyferry.clouds.http import DOCUMENT, Http, HttpResponse, Limits
from skyferry.errors import BucketNotFound, ObjectNotFound, PermissionDenied
from skyferry.frozen import dataclass
from skyferry.stores.checks import check_deletion, translate_malformed
from skyferry.stores.gcs.errors import CREATE, is_ambiguous, translate_error
from skyferry.stores.gcs.metadata import FIELDS

GOOGLE = "https://storage.googleapis.com"


@dataclass(frozen=True, slots=True)
class GcsOptions:
    """Settings for requests to one bucket."""

    endpoint: str = ""  # URL; "" = Google's
    kms_key: str = ""  # projects/P/locations/L/keyRings/R/cryptoKeys/K; "" = the bucket's default
    billing_project: str = ""  # project that pays, if the bucket demands it ("requester pays")
    uploads: str = "compose"  # mode of large objects: "compose" or "resumable"
    connections: int = 128  # at the same time
    connect_timeout: float = 10.0  # seconds
    read_timeout: float = 60.0  # seconds without a byte


class GcsClient:
    """HTTP client of one bucket. It opens connections on demand."""

    def __init__(self, name: str, bucket: str, tokens: TokenProvider, options: GcsOptions) -> None:
        self.bucket, self._tokens, self._options = bucket, tokens, options
        self.root = (options.endpoint or GOOGLE).rstrip("/")
        self._http = Http(name, self.root, Limits(options.connections, options.connect_timeout, options.read_timeout))

    async def send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str | list[str]] | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes | tuple[bytes, ...] = b"",
        limit: int = DOCUMENT,
        key: str = "",
        accept: Collection[int] = (),
        working: bool = False,
    ) -> HttpResponse:
        """Return the response, with at most `limit` bytes of body. Raise an error unless the status is 2xx or in `accept`.

        `working`: the service copies or composes objects before it answers.
        """
        payer = {"userProject": self._options.billing_project} if self._options.billing_project else {}
        url = f"{self.root}{path}?{urlencode({**(query or {}), **payer, 'prettyPrint': 'false'}, doseq=True, quote_via=quote)}"

        async def once(token: str) -> HttpResponse:
            signed = {**(headers or {}), "authorization": f"Bearer {token}"} if token else headers or {}
            return await self._http.exchange(method, url, signed, body, limit=limit, key=key, working=working)

        answer = await call_authorized(self._tokens, once, find_expiry)
        if method == "DELETE":
            check_deletion(answer, self.where(key))
        if answer.status < 300 or answer.status in accept:
            return answer
        if key and is_ambiguous(answer):
            raise await self._missing(key)
        raise translate_error(answer, self.where(key))

    async def insert(self, resource: dict[str, Any], data: bytes, query: Mapping[str, str]) -> Any:
        """Write an object, resource and bytes, in one request. Return the resource of the new object."""
        boundary = secrets.token_hex(16)
        head = (
            b"--%b\r\ncontent-type: application/json; charset=utf-8\r\n\r\n%b\r\n--%b\r\ncontent-type: %b\r\n\r\n"
            % (
                boundary.encode(),
                orjson.dumps(resource),
                boundary.encode(),
                resource["contentType"].encode(),
            )
        )
        answer = await self.send(
            "POST",
            f"/upload/storage/v1/b/{quote(self.bucket, safe='')}/o",
            query={"uploadType": "multipart", "fields": FIELDS, **self.encryption("kmsKeyName"), **query},
            headers={"content-type": f"multipart/related; boundary={boundary}"},
            body=(head, data, b"\r\n--%b--\r\n" % boundary.encode()),
            key=resource["name"],
        )
        return answer.json()

    async def post(self, path: str, document: dict[str, Any], query: Mapping[str, str], key: str) -> Any:
        """Post a document. Return the document of the answer."""
        headers = {"content-type": "application/json; charset=utf-8"}
        body = orjson.dumps(document)
        answer = await self.send("POST", path, query=query, headers=headers, body=body, key=key, working=True)
        return answer.json()

    async def patch(self, key: str, document: dict[str, Any], query: Mapping[str, str]) -> Any:
        """Change the metadata of an object. Return its resource."""
        headers = {"content-type": "application/json; charset=utf-8"}
        query = {"fields": FIELDS, **query}
        body = orjson.dumps(document)
        return (await self.send("PATCH", self.path(key), query=query, headers=headers, body=body, key=key)).json()

    async def rewrite(
        self, bucket: str, key: str, generation: str, target: dict[str, Any], when: Mapping[str, str]
    ) -> Any:
        """Copy an object to this bucket within Cloud Storage, in one or more requests. Return the resource of the copy."""
        path = f"{_path(bucket, key)}/rewriteTo{self.path(target['name']).removeprefix('/storage/v1')}"
        query = {"sourceGeneration": generation, "fields": f"done,rewriteToken,resource({FIELDS})", **when}
        query |= self.encryption("destinationKmsKeyName")
        while True:
            answer = await self.post(path, target, query, target["name"])
            with translate_malformed(self.where(target["name"])):
                if answer.get("done"):
                    return answer["resource"]
                query["rewriteToken"] = answer["rewriteToken"]

    def path(self, key: str | None = None) -> str:
        """Return the API path of an object, or of all objects."""
        return _path(self.bucket, key)

    def encryption(self, parameter: str) -> dict[str, str]:
        """Return the encryption parameter of every write."""
        return {parameter: self._options.kms_key} if self._options.kms_key else {}

    def where(self, key: str) -> str:
        """Name the store and the key, for errors."""
        return self._http.where(key)

    async def close(self) -> None:
        """Close the connections. Idempotent."""
        await self._http.close()

    async def _missing(self, key: str) -> ObjectNotFound | BucketNotFound | PermissionDenied:
        """Find the cause of an ambiguous 404: the object if the bucket can be listed, otherwise the bucket."""
        answer = await self.send(
            "GET", self.path(), query={"maxResults": "1", "fields": "kind"}, accept=range(300, 600)
        )
        if answer.status == 200:
            return ObjectNotFound(where=self.where(key))
        if answer.status == 404:
            return BucketNotFound(where=self.where(key), hint=CREATE)
        return PermissionDenied(
            "the object or its bucket is missing, and this identity may not list the bucket",
            where=self.where(key),
            hint="grant this identity storage.objects.list",
        )


def _path(bucket: str, key: str | None) -> str:
    root = f"/storage/v1/b/{quote(bucket, safe='')}/o"
    return root if key is None else f"{root}/{quote(key, safe='')}"
