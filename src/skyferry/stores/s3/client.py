"""Signed requests to one bucket. Each is sent once; the engine decides on retries.

docs/decisions/0009-one-s3-client.md explains why neither obstore nor the SDK is used.
"""

from __future__ import annotations

from collections.abc import Awaitable, Collection, Mapping
from urllib.parse import quote, urlsplit

from skyferry.bodies import StreamedBody
from skyferry.clouds import regions
from skyferry.clouds.aws import EXPIRED, Signer
from skyferry.clouds.credentials import Expiry, S3Credentials, S3Provider, call_authorized
from skyferry.clouds.http import DOCUMENT, Http, HttpResponse, Limits
from skyferry.errors import ConfigError
from skyferry.frozen import dataclass
from skyferry.regex import compile_lazily
from skyferry.stores.checks import check_deletion
from skyferry.stores.s3.errors import parse_error, translate_error
from skyferry.stores.s3.services import AMAZON, SERVICES, S3Service

DIRECTORY = "--x-s3"  # suffix of buckets that require sessions, list in no order and keep no versions
ROTATED = "InvalidAccessKeyId"  # the error code for a rotated access key
UNSIGNED = "UNSIGNED-PAYLOAD"
_ADDRESS = compile_lazily(r"[0-9.]+|[0-9a-f:.]*:[0-9a-f:.]*")  # IPv4 or IPv6
_LABEL = compile_lazily(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")  # of a host name


_UNRESERVED = compile_lazily(r"[A-Za-z0-9_.~/-]*")


@dataclass(frozen=True, slots=True)
class S3Options:
    """Settings for requests to one bucket."""

    service: str = AMAZON  # a row of SERVICES
    endpoint: str = ""  # URL; "" = Amazon's for the region
    region: str = ""  # "" = the service's default
    encryption: str = ""  # AES256, aws:kms, aws:kms:dsse; "" = the bucket's default
    kms_key: str = ""  # ARN or id; "" = the account's default key
    requester_pays: bool = False  # we pay, if the bucket demands it
    connections: int = 128  # at the same time
    connect_timeout: float = 10.0  # seconds
    read_timeout: float = 30.0  # seconds without a byte

    @property
    def encryption_headers(self) -> dict[str, str]:
        """Headers of every write."""
        headers = {"x-amz-server-side-encryption": self.encryption}
        headers["x-amz-server-side-encryption-aws-kms-key-id"] = self.kms_key
        return {name: value for name, value in headers.items() if value}

    @property
    def payer_headers(self) -> dict[str, str]:
        """Headers of every request."""
        return {"x-amz-request-payer": "requester"} if self.requester_pays else {}

    @property
    def row(self) -> S3Service:
        """The abilities of the service. Raises ConfigError for an unknown service."""
        try:
            return SERVICES[self.service]
        except KeyError as unknown:
            known = ", ".join(SERVICES)
            raise ConfigError(f"no S3 service is called {self.service!r}", hint=f"one of {known}") from unknown


class S3Client:
    """HTTP client of one bucket. It opens connections on demand."""

    def __init__(self, name: str, bucket: str, credentials: S3Provider, options: S3Options) -> None:
        self.name = name
        if bucket.endswith(DIRECTORY):
            hint = "use a general purpose bucket"
            raise ConfigError("directory buckets (S3 Express One Zone) are not supported", where=name, hint=hint)
        self._credentials, self._options = credentials, options
        self._region = options.region or options.row.region
        self.root = root(bucket, options, self._region)
        parts = urlsplit(self.root)
        self._origin, self._path = f"{parts.scheme}://{parts.netloc}", parts.path
        self._plain_headers = {"Host": parts.netloc, **options.payer_headers}
        limits = Limits(options.connections, options.connect_timeout, options.read_timeout)
        self._http = Http(name, self.root, limits)
        self._signer = Signer("s3", self._region)

    async def send(
        self,
        method: str,
        key: str = "",
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes | StreamedBody = b"",
        sha256: str = "",
        limit: int = DOCUMENT,
        accept: Collection[int] = (),
    ) -> HttpResponse:
        """Return the response, with at most `limit` bytes of body. Raise an error unless the status is 2xx or in `accept`.

        With `sha256` (hexadecimal, of the body) the server refuses a body that differs.
        """
        path = f"{self._path}{quote_key(key)}{_query(query) if query else ''}"
        url = self._origin + path
        working = method == "POST" or "x-amz-copy-source" in (headers or {})  # the server joins parts or copies
        unsigned = {**self._plain_headers, **(headers or {})}

        def once(credentials: S3Credentials) -> Awaitable[HttpResponse]:
            signed = self._signer.sign(credentials, method, path, unsigned, sha256 or UNSIGNED)
            return self._http.exchange(method, url, signed, body, limit=limit, key=key, working=working)

        def find_expiry(answer: HttpResponse) -> Expiry:
            accepted = answer.status < 300 or answer.status in accept
            return Expiry.NONE if accepted else _find_expiry(method, answer)

        answer = await call_authorized(self._credentials, once, find_expiry)
        if method == "DELETE":
            check_deletion(answer, self.where(key))
        if answer.status < 300 or answer.status in accept:
            return answer
        raise translate_error(answer, self.where(key))

    def where(self, key: str) -> str:
        """Name the store and the key, for errors."""
        return self._http.where(key)

    def for_bucket(self, bucket: str) -> S3Client:
        """Return a client of another bucket at the same endpoint."""
        return S3Client(self.name, bucket, self._credentials, self._options)

    async def close(self) -> None:
        """Close the connections. Idempotent."""
        await self._http.close()


def root(bucket: str, options: S3Options, region: str) -> str:
    """Return the URL that keys are appended to."""
    endpoint = urlsplit(options.endpoint or regions.endpoint("s3", region))
    base = f"{endpoint.scheme}://{endpoint.netloc}{endpoint.path.rstrip('/')}/"
    # No certificate covers a bucket with dots as a host name. Capitals in one are those of another bucket; an underscore is none.
    # An address has no names below it.
    if options.row.path_style or not _LABEL.fullmatch(bucket) or _ADDRESS.fullmatch(endpoint.hostname or ""):
        return f"{base}{quote(bucket)}/"
    return f"{endpoint.scheme}://{bucket}.{endpoint.netloc}/"


def quote_key(key: str) -> str:
    """Encode a key for a URL. Most keys need no encoding, and finding that is four times as fast as encoding them."""
    return key if _UNRESERVED.fullmatch(key) else quote(key, safe="/~")


def _find_expiry(method: str, answer: HttpResponse) -> Expiry:
    """Amazon answers a HEAD with 400 and no body if the credentials have expired.

    Nothing of a missing object is parsed here: a look before a write mostly finds none.
    """
    if answer.status == 404:
        return Expiry.NONE
    code = parse_error(answer).code
    if code in EXPIRED or (method == "HEAD" and answer.status == 400):
        return Expiry.CERTAIN
    return Expiry.SUSPECTED if code == ROTATED else Expiry.NONE


def _query(query: Mapping[str, str]) -> str:
    pairs = [f"{quote(k, safe='')}={quote(v, safe='')}" for k, v in sorted(query.items())]
    return f"?{'&'.join(pairs)}" if pairs else ""
