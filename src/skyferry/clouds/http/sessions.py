"""Requests over aiohttp: through proxies, with large bodies, and with anything that is unusual."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Mapping

import aiohttp
from yarl import URL

from skyferry.bodies import BodyFailed, StreamedBody
from skyferry.clouds.http.limits import Limits
from skyferry.clouds.http.request import USER_AGENT
from skyferry.clouds.http.response import HttpResponse, is_range
from skyferry.errors import ConnectionLost, StoreError, StoreTimeout

TINY = 32 * 2**10  # bytes; fits the socket buffers, so sending never waits for the server
PIECE = 256 * 2**10  # bytes; a larger body is sent in pieces of this size, each within `read_timeout`
SMALL = 2**20  # bytes; a larger answer is read into place
HINT = "check that the endpoint's certificate is valid for its name and trusted here"


class SessionClient:
    """The connections to the servers of one bucket, opened on demand."""

    def __init__(self, limits: Limits, proxy: str | None) -> None:
        self._limits, self._proxy = limits, proxy
        self._session: aiohttp.ClientSession | None = None

    async def exchange(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: tuple[bytes, ...] | StreamedBody,
        limit: int,
        working: bool,
    ) -> HttpResponse:
        """Return the response. Raise ConnectionLost, StoreTimeout, BodyFailed, or StoreError for more than `limit` bytes."""
        size = body.size if isinstance(body, StreamedBody) else sum(map(len, body))
        failed: list[BodyFailed] = []
        came = io.BytesIO()
        line: asyncio.Transport | None = None
        try:
            async with (
                asyncio.timeout(None) as sending,
                self._connections().request(
                    method,
                    URL(url, encoded=True),
                    headers={**headers, "content-length": str(size)},
                    data=self._pieces(body, sending, failed)
                    if isinstance(body, StreamedBody) or size > TINY
                    else b"".join(body),
                    allow_redirects=False,
                    timeout=self._timeouts(working),
                ) as response,
            ):
                line = response.connection.transport if response.connection else None
                kept = came if is_range(response.status, response.headers, headers) else io.BytesIO()
                content = await _read(response, limit if response.ok else self._limits.document, kept)
                answered: dict[str, str] = {}
                for name, value in response.headers.items():
                    answered.setdefault(name.lower(), value)
                return HttpResponse(response.status, answered, content)
        except TimeoutError as late:  # aiohttp's timeouts are also OSErrors, so they come first
            raise _broken_off(StoreTimeout(self._late(late)), came) from late
        except (aiohttp.ClientSSLError, aiohttp.ClientConnectorCertificateError) as untrusted:
            raise ConnectionLost(str(untrusted), hint=HINT) from untrusted
        except (aiohttp.ClientError, OSError) as broken:
            if failed:
                raise failed[0] from failed[0].__cause__
            said = broken.message if isinstance(broken, aiohttp.ClientResponseError) else str(broken)  # not the URL
            raise _broken_off(ConnectionLost(said or type(broken).__name__), came) from broken
        finally:
            if line is not None and line.is_closing() and line.get_write_buffer_size():
                line.abort()  # it has answered: do not send the rest of the body. A closed transport cannot be aborted

    async def close(self) -> None:
        """Close the connections. Idempotent."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _pieces(
        self, body: tuple[bytes, ...] | StreamedBody, sending: asyncio.Timeout, failed: list[BodyFailed]
    ) -> AsyncIterator[memoryview]:
        """Yield pieces, each with a deadline for a server that stalls. aiohttp's timeout starts only after the whole body.

        The time that a streamed body takes to be read does not count. If it fails, that is added to `failed`.
        """
        parts = body.pieces() if isinstance(body, StreamedBody) else _iterate(body)
        try:
            async for part in parts:
                view = memoryview(part)
                for start in range(0, len(part), PIECE):
                    sending.reschedule(asyncio.get_running_loop().time() + self._limits.read_timeout)
                    yield view[start : start + PIECE]
                sending.reschedule(None)
        except BodyFailed as error:
            failed.append(error)
            raise

    def _timeouts(self, working: bool) -> aiohttp.ClientTimeout:
        quiet = self._limits.first_byte(working)
        return aiohttp.ClientTimeout(total=None, sock_connect=self._limits.connect_timeout, sock_read=quiet)

    def _late(self, late: TimeoutError) -> str:
        return self._limits.no_connection if isinstance(late, aiohttp.ConnectionTimeoutError) else self._limits.silence

    def _connections(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=self._limits.connections),
                auto_decompress=False,  # raw bytes, always
                headers={"user-agent": USER_AGENT},
                skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type"),
                proxy=self._proxy,
            )
        return self._session


async def _iterate(parts: tuple[bytes, ...]) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


def _broken_off(error: StoreError, came: io.BytesIO) -> StoreError:
    came.truncate()
    error.partial = came.getvalue()
    return error


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
