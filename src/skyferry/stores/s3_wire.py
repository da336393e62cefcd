"""Signed requests to one bucket, each sent once: what is tried again is the engine's to say.

aiohttp carries them and awscrt, Amazon's own, signs them: docs/decisions/0009-one-s3-client.md says why it is neither
obstore nor the SDK.
"""

from __future__ import annotations

import io
import re
from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import dataclass
from urllib.parse import quote, unquote_plus, urlsplit
from urllib.request import getproxies, proxy_bypass
from xml.etree import ElementTree

import aiohttp
from awscrt.auth import (
    AwsCredentialsProvider,
    AwsSignatureType,
    AwsSignedBodyHeaderType,
    AwsSigningAlgorithm,
    AwsSigningConfig,
    aws_sign_request,
)
from awscrt.http import HttpHeaders, HttpRequest
from yarl import URL

from skyferry.credentials import S3Credentials, S3Provider
from skyferry.errors import ConfigError, ConnectionLost, StoreError, StoreTimeout
from skyferry.stores.s3_errors import Refusal, retry_after, translate
from skyferry.stores.s3_services import AMAZON, SERVICES, Service

UNSIGNED = "UNSIGNED-PAYLOAD"
SMALL = 2**20  # bytes; a larger body goes in pieces of this size
_PREFIX = re.compile(rb"<Prefix>.*?</Prefix>", re.DOTALL)
DOCUMENT = 16 * 2**20  # bytes that an XML answer may have


@dataclass(frozen=True, slots=True)
class S3Options:
    """How one bucket is reached and written."""

    service: str = AMAZON  # a row of SERVICES
    endpoint: str = ""  # URL; "" = Amazon's for the region
    region: str = ""  # "" = the service's default
    encryption: str = ""  # AES256, aws:kms, aws:kms:dsse; "" = the bucket's default
    kms_key: str = ""  # ARN or id; "" = the account's default key
    connections: int = 128  # at the same time
    connect_timeout: float = 10.0  # seconds
    read_timeout: float = 30.0  # seconds without a byte

    @property
    def encryption_headers(self) -> dict[str, str]:
        """What every write says."""
        headers = {"x-amz-server-side-encryption": self.encryption}
        headers["x-amz-server-side-encryption-aws-kms-key-id"] = self.kms_key
        return {name: value for name, value in headers.items() if value}

    @property
    def row(self) -> Service:
        """What the service can do. Raises ConfigError for one that has no row."""
        try:
            return SERVICES[self.service]
        except KeyError as unknown:
            known = ", ".join(SERVICES)
            raise ConfigError(f"no S3 service is called {self.service!r}", hint=f"one of {known}") from unknown


@dataclass(frozen=True, slots=True)
class Answer:
    """A response, read to its end."""

    status: int
    headers: Mapping[str, str]  # their names in any case
    body: bytes

    def xml(self) -> ElementTree.Element:
        """The body as a document. Raises StoreError."""
        return _parse(self.body)

    def listing(self) -> ElementTree.Element:
        """The same, without the prefix that was asked for: Ceph repeats it as it is, characters that XML has not too."""
        return _parse(_PREFIX.sub(b"", self.body, count=1))


def _parse(body: bytes) -> ElementTree.Element:
    try:
        return ElementTree.fromstring(body)  # noqa: S314 - expat bounds entities, `limit` the rest
    except ElementTree.ParseError as broken:
        raise StoreError("the answer is not XML: is this an S3 endpoint?") from broken


class S3Wire:
    """One bucket's HTTP. Its connections are opened as they are needed."""

    def __init__(self, name: str, bucket: str, credentials: S3Provider, options: S3Options) -> None:
        self.name = name
        self._credentials, self._options = credentials, options
        self._region = options.region or options.row.region
        self._root = root(bucket, options, self._region)
        self._host = urlsplit(self._root).netloc
        self._signing: tuple[S3Credentials, AwsCredentialsProvider] | None = None
        self._session: aiohttp.ClientSession | None = None

    async def send(
        self,
        method: str,
        key: str = "",
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        sha256: str = "",
        limit: int = DOCUMENT,
        accept: Collection[int] = (),
    ) -> Answer:
        """The answer, its body at most `limit` bytes. Raises what it means unless it is 2xx or in `accept`.

        With `sha256` (hexadecimal, of the body) the server refuses a body that differs.
        """
        url = self._root + quote(key, safe="/~") + _query(query or {})
        signed = await self._sign(method, url, {"Host": self._host, **(headers or {})}, sha256 or UNSIGNED)
        signed["Content-Length"] = str(len(body))
        answer = await self._exchange(method, url, signed, body, limit, key)
        if answer.status < 300 or answer.status in accept:
            return answer
        raise translate(refusal(answer), self.where(key))

    def where(self, key: str) -> str:
        """For errors."""
        return f"{self.name} {key}".rstrip()

    async def close(self) -> None:
        """Close the connections. Idempotent."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _exchange(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes, limit: int, key: str
    ) -> Answer:
        try:
            async with self._connections().request(
                method,
                URL(url, encoded=True),
                headers=headers,
                data=body if len(body) <= SMALL else _pieces(body),
                allow_redirects=False,
            ) as response:
                return Answer(
                    response.status, response.headers, await _read(response, limit if response.ok else DOCUMENT)
                )
        except TimeoutError as late:  # aiohttp's timeouts are also OSErrors, so they come first
            raise StoreTimeout(where=self.where(key)) from late
        except (aiohttp.ClientSSLError, aiohttp.ClientConnectorCertificateError) as untrusted:
            hint = "see that the endpoint's certificate is valid for its name and trusted here"
            raise ConnectionLost(str(untrusted), where=self.where(key), hint=hint) from untrusted
        except (aiohttp.ClientError, OSError) as broken:
            raise ConnectionLost(str(broken) or type(broken).__name__, where=self.where(key)) from broken

    async def _sign(self, method: str, url: str, headers: Mapping[str, str], payload: str) -> dict[str, str]:
        """The headers with date and signature (AWS Signature Version 4)."""
        credentials = await self._credentials()
        if self._signing is None or self._signing[0] != credentials:
            secrets = (credentials.access_key, credentials.secret_key, credentials.token or None)
            self._signing = credentials, AwsCredentialsProvider.new_static(*secrets)
        path = url[url.index("/", url.index("//") + 2) :]
        config = AwsSigningConfig(
            algorithm=AwsSigningAlgorithm.V4,
            signature_type=AwsSignatureType.HTTP_REQUEST_HEADERS,
            credentials_provider=self._signing[1],
            region=self._region,
            service="s3",
            use_double_uri_encode=False,
            should_normalize_uri_path=False,
            signed_body_value=payload,
            signed_body_header_type=AwsSignedBodyHeaderType.X_AMZ_CONTENT_SHA_256,
        )
        request = HttpRequest(method, path, HttpHeaders(list(headers.items())))
        return dict(aws_sign_request(request, config).result().headers)  # at once: nothing has to be fetched

    def _connections(self) -> aiohttp.ClientSession:
        if self._session is None:
            o = self._options
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=o.connections),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=o.connect_timeout, sock_read=o.read_timeout),
                auto_decompress=False,  # raw bytes, always
                skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type"),
                proxy=_proxy(self._root),  # found once: aiohttp's `trust_env` reads files in threads for each request
            )
        return self._session


def root(bucket: str, options: S3Options, region: str) -> str:
    """The URL that keys are appended to."""
    endpoint = urlsplit(options.endpoint or f"https://s3.{region}.amazonaws.com")
    base = f"{endpoint.scheme}://{endpoint.netloc}{endpoint.path.rstrip('/')}/"
    if options.row.path_style or "." in bucket:  # no certificate covers a bucket with dots as a host name
        return f"{base}{quote(bucket)}/"
    return f"{endpoint.scheme}://{bucket}.{endpoint.netloc}/"


def key_of(listing: ElementTree.Element, text: str) -> str:
    """A key as a listing has it that was asked for in URL encoding (a space is a plus), and may not be in it."""
    return unquote_plus(text) if listing.findtext("{*}EncodingType") == "url" else text


def refusal(answer: Answer) -> Refusal:
    """What an error answer says."""
    document = ElementTree.Element("Error")
    if answer.body.lstrip().startswith(b"<"):
        try:
            document = answer.xml()
        except StoreError:  # the page of a proxy
            document = ElementTree.Element("Error")
    return Refusal(
        status=answer.status,
        code=document.findtext("{*}Code", ""),
        message=document.findtext("{*}Message", ""),
        region=answer.headers.get("x-amz-bucket-region", "") or document.findtext("{*}Region", ""),
        request_id=answer.headers.get("x-amz-request-id", ""),
        retry_after=retry_after(answer.headers.get("retry-after", "")),
    )


def _proxy(url: str) -> str | None:
    """Of the environment (HTTPS_PROXY, NO_PROXY)."""
    parts = urlsplit(url)
    return None if proxy_bypass(parts.hostname or "") else getproxies().get(parts.scheme)


def _query(query: Mapping[str, str]) -> str:
    pairs = [f"{quote(k, safe='')}={quote(v, safe='')}" for k, v in sorted(query.items())]
    return f"?{'&'.join(pairs)}" if pairs else ""


async def _pieces(body: bytes) -> AsyncIterator[memoryview]:
    view = memoryview(body)
    for start in range(0, len(body), SMALL):
        yield view[start : start + SMALL]


async def _read(response: aiohttp.ClientResponse, limit: int) -> bytes:
    """The body in one piece of memory, never two: what a transfer may hold is counted."""
    length = response.content_length or 0
    if response.method == "HEAD":
        return b""
    if length > limit:
        response.close()
        raise StoreError(f"the server sends {length} bytes where {limit} were asked for")
    if length <= SMALL and response.content_length is not None:
        return await response.read()
    body = io.BytesIO()
    body.seek(max(length - 1, 0))
    body.write(b"\0" * bool(length))
    body.seek(0)
    async for chunk in response.content.iter_any():
        if body.tell() + len(chunk) > limit:
            response.close()
            raise StoreError(f"the server sends more than the {limit} bytes that were asked for")
        body.write(chunk)
    return body.getvalue()
