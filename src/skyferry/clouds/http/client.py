"""HTTP client for all clouds. Each request is sent once (the engine decides on retries), and the answer is read whole
and raw. Network failures become Skyferry's errors. Each adapter interprets the answers itself.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from math import isfinite
from time import time
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass
from xml.etree import ElementTree

import aiohttp
import orjson
from multidict import CIMultiDict
from yarl import URL

from skyferry.errors import ConnectionLost, StoreError, StoreTimeout
from skyferry.redaction import find_secrets, redact_values

TINY = 32 * 2**10  # bytes; fits the socket buffers, so sending never waits for the server
PIECE = 256 * 2**10  # bytes; a larger body is sent in pieces of this size, each within `read_timeout`
SMALL = 2**20  # bytes; a larger answer is read into place
PATIENCE = 3600.0  # seconds; a longer Retry-After is capped
BYTES = ("utf-8", "surrogateescape")  # encoding of headers in aiohttp
WORKING = 3600.0  # seconds without a byte during a server-side copy or join; the caller's deadline comes first
DOCUMENT = 16 * 2**20  # bytes; limit of an answer other than an object: a listing, an error


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of the connections to one bucket."""

    connections: int = 128  # at the same time
    connect_timeout: float = 10.0  # seconds
    read_timeout: float = 30.0  # seconds without a byte received or sent
    document: int = DOCUMENT  # bytes of an error


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """A response, read completely."""

    status: int
    headers: Mapping[str, str]  # case-insensitive
    body: bytes

    def xml(self) -> ElementTree.Element:
        """Parse the body as XML. Raise StoreError."""
        return parse_xml(self.body)

    def json(self) -> Any:
        """Parse the body as JSON. Raise StoreError."""
        try:
            return orjson.loads(self.body)
        except orjson.JSONDecodeError as broken:
            raise StoreError(
                "the answer is not JSON; check whether another server answers at this endpoint"
            ) from broken


class Http:
    """The connections to one bucket, opened on demand."""

    def __init__(self, name: str, root: str, limits: Limits, *, direct: bool = False) -> None:
        """`name` is that of the store. `root` is any URL there; it selects the proxy (HTTPS_PROXY, NO_PROXY).

        `direct`: never use a proxy.
        """
        self._name, self._limits = name, limits
        # Found once: aiohttp's `trust_env` reads files in threads for each request.
        self._proxy = None if direct else proxy_of(root)
        self._session: aiohttp.ClientSession | None = None

    async def exchange(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | tuple[bytes, ...] = b"",
        *,
        limit: int = DOCUMENT,
        key: str = "",
        working: bool = False,
    ) -> HttpResponse:
        """Return the response, whatever its status. The raw body has at most `limit` bytes, that of an error `Limits.document`.

        `url` is already encoded. Redirects are not followed. The parts of a body are sent one after the other.
        `working`: the provider copies or joins objects before it answers, and may be silent for long.
        Raise ConnectionLost, StoreTimeout (after `read_timeout` without progress), or StoreError for more than `limit` bytes.
        """
        parts = (body,) if isinstance(body, bytes) else body
        size = sum(map(len, parts))
        came = io.BytesIO()
        line: asyncio.Transport | None = None
        try:
            async with (
                asyncio.timeout(None) as sending,
                self._connections().request(
                    method,
                    URL(url, encoded=True),
                    headers={**headers, "content-length": str(size)},
                    data=b"".join(parts) if size <= TINY else self._pieces(parts, sending),
                    allow_redirects=False,
                    timeout=self._timeouts(working),
                ) as response,
            ):
                line = response.connection.transport if response.connection else None
                kept = came if _is_range(response, headers) else io.BytesIO()
                content = await _read(response, limit if response.ok else self._limits.document, kept)
                if response.ok and method in ("GET", "HEAD"):  # it may be an object
                    return HttpResponse(response.status, response.headers, content)
                return _unechoed(response, content, find_secrets(headers.items(), url))
        except TimeoutError as late:  # aiohttp's timeouts are also OSErrors, so they come first
            raise _broken_off(StoreTimeout(self._late(late), where=self.where(key)), came) from late
        except (aiohttp.ClientSSLError, aiohttp.ClientConnectorCertificateError) as untrusted:
            hint = "check that the endpoint's certificate is valid for its name and trusted here"
            raise ConnectionLost(str(untrusted), where=self.where(key), hint=hint) from untrusted
        except (aiohttp.ClientError, OSError) as broken:
            said = broken.message if isinstance(broken, aiohttp.ClientResponseError) else str(broken)  # not the URL
            lost = ConnectionLost(said or type(broken).__name__, where=self.where(key))
            raise _broken_off(lost, came) from broken
        finally:
            if line is not None and line.is_closing() and line.get_write_buffer_size():
                line.abort()  # it has answered: do not send the rest of the body. A closed transport cannot be aborted

    def where(self, key: str) -> str:
        """Name the store and the key, for errors."""
        return f"{self._name} {key}".rstrip()

    async def close(self) -> None:
        """Close the connections. Idempotent."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _pieces(self, parts: tuple[bytes, ...], sending: asyncio.Timeout) -> AsyncIterator[memoryview]:
        """Yield pieces, each with a deadline for a server that stalls. aiohttp's timeout starts only after the whole body."""
        for part in parts:
            view = memoryview(part)
            for start in range(0, len(part), PIECE):
                sending.reschedule(asyncio.get_running_loop().time() + self._limits.read_timeout)
                yield view[start : start + PIECE]
        sending.reschedule(None)

    def _timeouts(self, working: bool) -> aiohttp.ClientTimeout:
        quiet = max(WORKING, self._limits.read_timeout) if working else self._limits.read_timeout
        return aiohttp.ClientTimeout(total=None, sock_connect=self._limits.connect_timeout, sock_read=quiet)

    def _late(self, late: TimeoutError) -> str:
        if isinstance(late, aiohttp.ConnectionTimeoutError):
            return f"no connection within {self._limits.connect_timeout:g} s"
        return f"the connection brought nothing for {self._limits.read_timeout:g} s"

    def _connections(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=self._limits.connections),
                auto_decompress=False,  # raw bytes, always
                skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type"),
                proxy=self._proxy,
            )
        return self._session


def parse_xml(body: bytes) -> ElementTree.Element:
    """Parse an XML document. Raise StoreError."""
    try:
        # S3 sends blanks first while it works.
        return ElementTree.fromstring(body.lstrip())  # noqa: S314 - expat bounds entities, `limit` the rest
    except ElementTree.ParseError as broken:
        raise StoreError("the answer is not XML; check whether another server answers at this endpoint") from broken


def retry_after(header: str) -> float | None:
    """Parse a Retry-After header (RFC 9110, 10.2.3: seconds or a date) to seconds, at most PATIENCE; None without one."""
    if not header:
        return None
    try:
        seconds = float(header)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(header).timestamp() - time()
        except ValueError:
            return None
    return min(max(0.0, seconds), PATIENCE) if isfinite(seconds) else None


def seconds(date: str) -> float:
    """Parse an HTTP date to seconds since 1970; 0 if it is malformed."""
    try:
        return parsedate_to_datetime(date).timestamp()
    except ValueError:
        return 0.0


def proxy_of(url: str) -> str | None:
    """Return the proxy from the environment (HTTPS_PROXY, NO_PROXY)."""
    parts = urlsplit(url)
    return None if proxy_bypass(parts.hostname or "") else getproxies().get(parts.scheme)


def _is_range(response: aiohttp.ClientResponse, asked: Mapping[str, str]) -> bool:
    """Return True if the body is the requested range of the requested version."""
    pinned = asked.get("if-match", response.headers.get("etag"))
    return response.status == 206 and pinned == response.headers.get("etag")


def _broken_off(error: StoreError, came: io.BytesIO) -> StoreError:
    came.truncate()
    error.partial = came.getvalue()
    return error


def _unechoed(response: aiohttp.ClientResponse, body: bytes, secrets: list[bytes]) -> HttpResponse:
    """Remove the secrets of the request from a document: a server or proxy may repeat them."""
    if not secrets:
        return HttpResponse(response.status, response.headers, body)
    headers = [
        (name, redact_values(value.encode(*BYTES), secrets).decode(*BYTES)) for name, value in response.headers.items()
    ]
    return HttpResponse(response.status, CIMultiDict(headers), redact_values(body, secrets))


async def _read(response: aiohttp.ClientResponse, limit: int, body: io.BytesIO) -> bytes:
    """Read the body into memory once, never twice: the memory of transfers is budgeted. Large ones are read into `body`."""
    length = response.content_length or 0
    if response.method == "HEAD":
        return b""
    if length > limit:
        response.close()
        raise StoreError(f"the server sends {length} bytes where {limit} were asked for")
    if length <= SMALL and response.content_length is not None:
        return await response.read()
    body.seek(max(length - 1, 0))
    body.write(b"\0" * bool(length))
    body.seek(0)
    async for chunk in response.content.iter_any():
        if body.tell() + len(chunk) > limit:
            response.close()
            raise StoreError(f"the server sends more than the {limit} bytes that were asked for")
        body.write(chunk)
    return body.getvalue()
