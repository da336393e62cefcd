"""HTTP client for all clouds. Each request is sent once (the engine decides on retries), and the answer is read whole
and raw. Network failures become Skyferry's errors. Each adapter interprets the answers itself.

Plain requests go through PlainClient, which costs less than half of aiohttp; those through a proxy, or with anything unusual, go
through aiohttp.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from skyferry.bodies import BUFFERS, StreamedBody
from skyferry.clouds.http.limits import DOCUMENT, Limits
from skyferry.clouds.http.plain_client import PlainClient
from skyferry.clouds.http.request import encode_request
from skyferry.clouds.http.response import HttpResponse, is_range
from skyferry.clouds.http.response_parser import BYTES, ResponseParser
from skyferry.clouds.http.slots import RequestSlots
from skyferry.errors import StoreError
from skyferry.redaction import find_secrets, may_repeat_secrets, redact_values

if TYPE_CHECKING:
    from skyferry.clouds.http.sessions import SessionClient

_WHOLE = (bytes, memoryview)  # types of a body that is one part


class Http:
    """The connections to one bucket, opened on demand."""

    def __init__(self, name: str, root: str, limits: Limits, *, direct: bool = False) -> None:
        """`name` is that of the store. `root` is any URL there; it selects the proxy (HTTPS_PROXY, NO_PROXY).

        `direct`: never use a proxy.
        """
        self._name, self._limits = name, limits
        # Found once: aiohttp's `trust_env` reads files in threads for each request.
        self._proxy = None if direct else proxy_of(root)
        self._slots = RequestSlots(limits.connections)
        self._plain = PlainClient(limits)
        self._sessions: SessionClient | None = None

    async def exchange(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | tuple[bytes, ...] | StreamedBody = b"",
        *,
        limit: int = DOCUMENT,
        key: str = "",
        working: bool = False,
    ) -> HttpResponse:
        """Return the response, whatever its status. The raw body has at most `limit` bytes, that of an error `Limits.document`.

        `url` is already encoded. Redirects are not followed. The parts of a body are sent one after the other.
        `working`: the provider copies or joins objects before it answers, and may be silent for long.
        Raise ConnectionLost, StoreTimeout (after `read_timeout` without progress), StoreError for more than `limit` bytes, or
        the BodyFailed of a streamed body.
        """
        parts = (body,) if isinstance(body, _WHOLE) else body
        request = encode_request(method, url, headers, parts) if self._proxy is None else None
        parser = ResponseParser(method, limit, self._limits.document, BUFFERS)
        if not self._slots.take():
            await self._slots.wait()
        try:
            if request is not None:
                tries = await self._plain.exchange(request, parser, self._limits.first_byte(working))
                response = HttpResponse(parser.status, parser.headers, parser.body, tries)
            else:
                response = await self._open_sessions().exchange(method, url, headers, parts, limit, working)
        except StoreError as error:
            if is_range(parser.status, parser.headers, headers):
                error.partial = parser.body  # its beginning
            error.where = error.where or self.where(key)
            raise
        finally:
            self._slots.give_back()
        if response.status < 400 and method in ("GET", "HEAD"):  # it may be an object
            return response
        return _redact_response(response, headers, url)

    def where(self, key: str) -> str:
        """Name the store and the key, for errors."""
        return f"{self._name} {key}".rstrip()

    async def close(self) -> None:
        """Close the connections. Idempotent."""
        await self._plain.close()
        if self._sessions is not None:
            await self._sessions.close()
            self._sessions = None

    def _open_sessions(self) -> SessionClient:
        if self._sessions is None:
            from skyferry.clouds.http.sessions import SessionClient  # here, for aiohttp is slow to import

            self._sessions = SessionClient(self._limits, self._proxy)
        return self._sessions


def proxy_of(url: str) -> str | None:
    """Return the proxy from the environment (HTTPS_PROXY, NO_PROXY), or else of the system (macOS, Windows)."""
    if sys.platform not in ("darwin", "win32") and not any(name[-6:].lower() == "_proxy" for name in os.environ):
        return None
    from urllib.request import getproxies, proxy_bypass  # here, for it imports a client and e-mail

    parts = urlsplit(url)
    return None if proxy_bypass(parts.hostname or "") else getproxies().get(parts.scheme)


def _redact_response(response: HttpResponse, sent: Mapping[str, str], url: str) -> HttpResponse:
    """Remove the secrets of the request from a document: a server or proxy may repeat them."""
    text = "\n".join(response.headers.values()).encode(*BYTES)
    if not may_repeat_secrets(text + response.body, sent, url):
        return response
    secrets = find_secrets(sent, url)
    headers = {
        name: redact_values(value.encode(*BYTES), secrets).decode(*BYTES) for name, value in response.headers.items()
    }
    return HttpResponse(response.status, headers, redact_values(response.body, secrets), response.tries)
