"""HTTP as every cloud needs it: each request sent once (what is tried again is the engine's to say), the answer
read whole and raw, and what the network does told as one of our errors. What an answer means is the provider's own part.
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

TINY = 32 * 2**10  # bytes; what the sockets' buffers hold, so that sending it never waits for the server
PIECE = 256 * 2**10  # bytes; a larger body goes in pieces of this size, each within `read_timeout`
SMALL = 2**20  # bytes; a larger answer is read into place
PATIENCE = 3600.0  # seconds; who asks for more is asked again all the same
BYTES = ("utf-8", "surrogateescape")  # of a header, as aiohttp reads it
WORKING = 3600.0  # seconds without a byte while a provider copies or joins by itself; the caller's deadline comes first
DOCUMENT = 16 * 2**20  # bytes that an answer may have which is no object: a listing, an error


@dataclass(frozen=True, slots=True)
class Limits:
    """Of the connections to one bucket."""

    connections: int = 128  # at the same time
    connect_timeout: float = 10.0  # seconds
    read_timeout: float = 30.0  # seconds without a byte, of the answer or of what is sent


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """A response, read to its end."""

    status: int
    headers: Mapping[str, str]  # their names in any case
    body: bytes

    def xml(self) -> ElementTree.Element:
        """The body as a document. Raises StoreError."""
        return parse_xml(self.body)

    def json(self) -> Any:
        """The body as JSON. Raises StoreError."""
        try:
            return orjson.loads(self.body)
        except orjson.JSONDecodeError as broken:
            raise StoreError("the answer is not JSON: does another server answer in its place?") from broken


class Http:
    """The connections to one bucket, opened as they are needed."""

    def __init__(self, name: str, root: str, limits: Limits) -> None:
        """`name` is the store's; `root` any URL there, which finds the proxy (HTTPS_PROXY, NO_PROXY)."""
        self._name, self._limits = name, limits
        self._proxy = proxy_of(root)  # found once: aiohttp's `trust_env` reads files in threads for each request
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
        """The answer, whatever its status; its body has at most `limit` bytes (an error's: DOCUMENT), as they were sent.

        `url` is encoded already; no redirect is followed. A body may come in parts, which are sent one after the other.
        `working`: the provider copies or joins objects before it answers, and may be silent for long.
        Raises ConnectionLost, StoreTimeout (after `read_timeout` without progress), StoreError if more comes than `limit`.
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
                content = await _read(response, limit if response.ok else DOCUMENT, kept)
                if response.ok and method in ("GET", "HEAD"):  # it may be an object
                    return HttpResponse(response.status, response.headers, content)
                return _unechoed(response, content, find_secrets(headers.items(), url))
        except TimeoutError as late:  # aiohttp's timeouts are also OSErrors, so they come first
            raise _broken_off(StoreTimeout(self._late(late), where=self.where(key)), came) from late
        except (aiohttp.ClientSSLError, aiohttp.ClientConnectorCertificateError) as untrusted:
            hint = "see that the endpoint's certificate is valid for its name and trusted here"
            raise ConnectionLost(str(untrusted), where=self.where(key), hint=hint) from untrusted
        except (aiohttp.ClientError, OSError) as broken:
            said = broken.message if isinstance(broken, aiohttp.ClientResponseError) else str(broken)  # not the URL
            lost = ConnectionLost(said or type(broken).__name__, where=self.where(key))
            raise _broken_off(lost, came) from broken
        finally:
            if line is not None and line.is_closing():
                line.abort()  # it has answered, and need not be sent the rest of what it refused

    def where(self, key: str) -> str:
        """For errors."""
        return f"{self._name} {key}".rstrip()

    async def close(self) -> None:
        """Close the connections. Idempotent."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _pieces(self, parts: tuple[bytes, ...], sending: asyncio.Timeout) -> AsyncIterator[memoryview]:
        """A server that takes nothing is given up: aiohttp's own timeout begins when all has been sent."""
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
    """Raises StoreError."""
    try:
        # S3 sends blanks first while it works.
        return ElementTree.fromstring(body.lstrip())  # noqa: S314 - expat bounds entities, `limit` the rest
    except ElementTree.ParseError as broken:
        raise StoreError("the answer is not XML: does another server answer in its place?") from broken


def retry_after(header: str) -> float | None:
    """Seconds to wait, of a Retry-After header (RFC 9110, 10.2.3: seconds or a date), at most PATIENCE; None if it has none."""
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
    """Since 1970, of an HTTP date; 0 for what is none."""
    try:
        return parsedate_to_datetime(date).timestamp()
    except ValueError:
        return 0.0


def describe_error(message: str, code: str, status: int, request_id: str) -> str:
    """What a refusal says, for people and for the provider's support. `message`, `code` and `request_id` may be empty."""
    facts = [code or str(status)]
    if request_id:
        facts.append(f"request {request_id}")
    return f"{message or code or f'HTTP {status}'} [{', '.join(facts)}]"


def proxy_of(url: str) -> str | None:
    """The proxy that the environment names (HTTPS_PROXY, NO_PROXY)."""
    parts = urlsplit(url)
    return None if proxy_bypass(parts.hostname or "") else getproxies().get(parts.scheme)


def _is_range(response: aiohttp.ClientResponse, asked: Mapping[str, str]) -> bool:
    """Whether the body is the range that was asked for, of the version that was asked for."""
    pinned = asked.get("if-match", response.headers.get("etag"))
    return response.status == 206 and pinned == response.headers.get("etag")


def _broken_off(error: StoreError, came: io.BytesIO) -> StoreError:
    came.truncate()
    error.partial = came.getvalue()
    return error


def _unechoed(response: aiohttp.ClientResponse, body: bytes, secrets: list[bytes]) -> HttpResponse:
    """A document without the secrets of the request that a server, or a proxy before it, repeats."""
    if not secrets:
        return HttpResponse(response.status, response.headers, body)
    headers = [
        (name, redact_values(value.encode(*BYTES), secrets).decode(*BYTES)) for name, value in response.headers.items()
    ]
    return HttpResponse(response.status, CIMultiDict(headers), redact_values(body, secrets))


async def _read(response: aiohttp.ClientResponse, limit: int, body: io.BytesIO) -> bytes:
    """The body in one piece of memory, never two: what a transfer may hold is counted. Large ones are read into `body`."""
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
