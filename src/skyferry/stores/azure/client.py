"""Authorized requests to one container. Each is sent once; the engine decides on retries."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from copy import copy
from dataclasses import replace
from email.utils import formatdate
from functools import partial
from urllib.parse import quote, urlsplit

from skyferry.clouds.azure import AzureProvider, SharedKey, authorization, copy_source
from skyferry.clouds.credentials import Expiry, call_authorized
from skyferry.clouds.http import DOCUMENT, Http, HttpResponse, Limits
from skyferry.errors import ConfigError
from skyferry.frozen import dataclass
from skyferry.model import EXPIRES, FILE_MODES, HEADER_FIELDS, REDIRECTS, AttributeLimits, Traits
from skyferry.stores.azure.errors import parse_error, translate_error
from skyferry.stores.checks import check_deletion

COPY_MAX = 256 * 2**20  # bytes; Azure answers after the copy, so a large one would time out
STARTS = "2026-02-06"  # the first API version whose listings can start at any key
OLDER = "2021-12-02"  # has all else, such as the tier Cold; some regions get new versions months later


@dataclass(frozen=True, slots=True)
class AzureOptions:
    """Settings for requests to one container."""

    endpoint: str  # of the account's Blob service: https://ACCOUNT.blob.core.windows.net
    encryption_scope: str = ""  # "" = the container's default
    hierarchical: bool = False  # the account's namespace (Data Lake Gen2): it has no tags, and sorts `/` first
    api_version: str = STARTS
    list_page: int = 5000  # blobs in one answer, at most
    connections: int = 128  # at the same time
    connect_timeout: float = 10.0  # seconds
    read_timeout: float = 30.0  # seconds without a byte

    @property
    def encryption_headers(self) -> dict[str, str]:
        """Headers of every write."""
        return {"x-ms-encryption-scope": self.encryption_scope} if self.encryption_scope else {}

    @property
    def starts(self) -> bool:
        """True if a listing can start at a key in Skyferry's order."""
        return self.api_version >= STARTS and not self.hierarchical

    def traits(self) -> Traits:
        """Return the traits that the engine reads. Limits: "Scalability and performance targets for Blob Storage".

        Azure checks the CRC64 or MD5 of every body. Skyferry computes the CRC32C over the same bytes (`checksums`).
        """
        return Traits(
            checksums_returned=frozenset({"crc32c", "crc64nvme", "md5"}),
            metadata_limit=8192,
            attributes=LIMITS,
            single_put_limit=5000 * 2**20,
            max_part=4000 * 2**20,
            max_parts=50_000,
            resumable=True,
            listed_uploads="own",
            copy_checksums=frozenset({"md5"}),
            copy_exact=True,
            in_place=True,
            copy_limit=COPY_MAX,
            lossy=(*(("tags", "the order of listings") if self.hierarchical else ()), EXPIRES, REDIRECTS, FILE_MODES),
            order="none" if self.hierarchical else "plain",
        )


# "Set Blob Tags" and "Setting and retrieving properties and metadata", Azure Storage REST API.
LIMITS = AttributeLimits(
    headers=HEADER_FIELDS,
    names=r"(?s:.+)",  # `escape` makes an identifier of each
    coded=True,
    tags=10,
    tag_key=128,
    tag_value=256,
    tag_text=r"[a-zA-Z0-9 +\-./:=_]*",
)


@dataclass(frozen=True, slots=True)
class AzureRequest:
    """A request before it is dated and signed."""

    method: str
    key: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    limit: int  # bytes of the answer
    origin: tuple[str, str] | None  # container and key


class AzureClient:
    """HTTP client of one container. It opens connections on demand."""

    def __init__(self, name: str, container: str, credential: AzureProvider, options: AzureOptions) -> None:
        self.name = name
        self._credential, self._version = credential, options.api_version
        endpoint = urlsplit(options.endpoint)
        if endpoint.scheme not in ("http", "https") or not endpoint.netloc:
            hint = "as in https://ACCOUNT.blob.core.windows.net"
            raise ConfigError("Azure needs the endpoint of the storage account", where=name, hint=hint)
        self.account = f"{endpoint.scheme}://{endpoint.netloc}{endpoint.path.rstrip('/')}"  # its URL
        self.root = f"{self.account}/{quote(container)}"
        self._http = Http(name, self.root, Limits(options.connections, options.connect_timeout, options.read_timeout))

    async def send(
        self,
        method: str,
        key: str = "",
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        limit: int = DOCUMENT,
        accept: Collection[int] = (),
        origin: tuple[str, str] | None = None,
    ) -> HttpResponse:
        """Return the response, with at most `limit` bytes of body. Raise an error unless the status is 2xx or in `accept`.

        An expired token is renewed once. Without a key the request is about the container. `origin` is the container and
        key, of the same account, from which Azure copies the bytes.
        """
        request = AzureRequest(method, key, query or {}, headers or {}, body, limit, origin)
        version = self._version
        answer = await self._call(request)
        if version != OLDER and answer.status >= 400 and _is_version_refused(answer):
            self._version = OLDER
            older = {name: value for name, value in request.query.items() if name != "startFrom"}
            answer = await self._call(replace(request, query=older))
        if method == "DELETE":
            check_deletion(answer, self.where(key), "x-ms-request-id")
        if answer.status < 300 or answer.status in accept:
            return answer
        raise translate_error(answer, self.where(key))

    def for_container(self, container: str) -> AzureClient:
        """Return a client of another container of the account, over the same connections."""
        client = copy(self)
        client.root = f"{self.account}/{quote(container)}"
        return client

    def url(self, key: str) -> str:
        """Return the encoded URL of a blob, or of the container without a key."""
        return f"{self.root}/{quote(key, safe='/~')}" if key else self.root

    def where(self, key: str) -> str:
        """Name the store and the key, for errors."""
        return self._http.where(key)

    async def close(self) -> None:
        """Close the connections. Idempotent."""
        await self._http.close()

    async def _call(self, request: AzureRequest) -> HttpResponse:
        return await call_authorized(self._credential, partial(self._once, request), _find_expiry)

    async def _once(self, request: AzureRequest, credential: str | SharedKey) -> HttpResponse:
        url = self.url(request.key)
        headers = {
            "x-ms-date": formatdate(usegmt=True),
            "x-ms-version": self._version,
            "content-length": str(len(request.body)),
            **request.headers,
        }
        if request.origin:
            container, key = request.origin
            headers |= copy_source(credential, self.for_container(container).url(key), f"{container}/{key}")
        headers |= authorization(credential, request.method, url, headers, request.query)
        return await self._http.exchange(
            request.method,
            url + _query(request.query),
            headers,
            request.body,
            limit=request.limit,
            key=request.key,
            working=request.origin is not None,
        )


def _find_expiry(answer: HttpResponse) -> Expiry:
    refused = answer.status == 401 or answer.headers.get("x-ms-error-code") == "AuthenticationFailed"
    return Expiry.CERTAIN if refused else Expiry.NONE


def _is_version_refused(answer: HttpResponse) -> bool:
    """Return True if the service does not support the API version. The answer to a HEAD does not name the header."""
    said = parse_error(answer)
    return said.code == "InvalidHeaderValue" and (not answer.body or "x-ms-version" in said.message)


def _query(query: Mapping[str, str]) -> str:
    pairs = [f"{quote(k, safe='')}={quote(v, safe='')}" for k, v in sorted(query.items())]
    return f"?{'&'.join(pairs)}" if pairs else ""
