"""Middleware for every request: correlation id, access control, media type, body limit.

A HEAD is handled as a GET; the HTTP server omits the body.
"""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from http import HTTPStatus

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from skyferry.server.access_control import AccessControl
from skyferry.server.connections.connection import PEER
from skyferry.server.connections.peer import is_same_user
from skyferry.server.problems import CORRELATION, SCOPE, ApiError, create_response

_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_JSON = re.compile(rb"application/([a-z0-9.-]+\+)?json")
AUTHENTICATED = "skyferry.authenticated"  # in the scope: False if only the open path admitted the request
PUSH = "/v1/push/"  # providers send other media types there, and each endpoint has its own authenticator
LARGE_BODY = 64 * 2**10  # bytes; each connection may have a body up to this size in memory
MAX_LARGE_BODIES = 8  # read at once
LARGE_BODY_WAIT = 5.0  # seconds that a large body waits for its turn
_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


class RequestMiddleware:
    """ASGI middleware that checks a request before the application handles it."""

    def __init__(self, app: ASGIApp, access: AccessControl, body_limit: int) -> None:
        self._app, self._access, self._limit = app, access, body_limit
        self._turns = asyncio.Semaphore(MAX_LARGE_BODIES)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Reject the request, or pass it to the application."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers: dict[bytes, bytes] = dict(scope["headers"])
        correlation_id = scope[SCOPE] = _read_correlation_id(headers)

        async def send_tagged(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS | {CORRELATION: correlation_id})
            await send(message)

        if scope["method"] == "HEAD":
            scope = {**scope, "method": "GET"}
        pushed = scope["path"].startswith(PUSH)
        try:
            if not pushed:
                await self._access.refresh()
                peer = partial(_is_same_user, scope)
                scope[AUTHENTICATED] = self._access.check(scope["method"], scope["path"], headers, peer)
            self._check_body(headers, any_type=pushed)
        except ApiError as error:
            await create_response(error, correlation_id)(scope, receive, send_tagged)
        else:
            async with AsyncExitStack() as turn:
                await self._app(scope, self._limit_body(receive, _is_large(headers), turn), send_tagged)

    def _check_body(self, headers: dict[bytes, bytes], *, any_type: bool) -> None:
        """Check length and media type before the body is read. Any web page can send a form or plain text, but not JSON."""
        if {b"content-length", b"transfer-encoding"} <= headers.keys():  # a proxy may use the other one: RFC 9112, 6.3
            why = "The request has both Content-Length and Transfer-Encoding."
            raise ApiError(HTTPStatus.BAD_REQUEST, why, kind="ambiguous-length", headers={"Connection": "close"})
        length = headers.get(b"content-length", b"0")
        if length == b"0" and b"transfer-encoding" not in headers:
            return
        if not length.isdigit() or int(length) > self._limit:
            raise self._too_large()
        if not any_type and not _JSON.fullmatch(headers.get(b"content-type", b"").partition(b";")[0].strip().lower()):
            raise ApiError(
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
                "The body is not declared as JSON.",
                hint="send the header Content-Type: application/json",
                headers={"Connection": "close"},
            )

    def _limit_body(self, receive: Receive, large: bool, turn: AsyncExitStack) -> Receive:
        """Count the bytes of the body. A large body waits for its turn, which `turn` ends with the request."""
        left = self._limit

        async def receive_counted() -> Message:
            nonlocal left, large
            if large:
                await turn.enter_async_context(self._wait_for_turn())
                large = False
            message = await receive()
            left -= len(message.get("body", b""))
            if left < 0:
                raise self._too_large()
            return message

        return receive_counted

    @asynccontextmanager
    async def _wait_for_turn(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(LARGE_BODY_WAIT):
                await self._turns.acquire()
        except TimeoutError:
            detail = "Too many large bodies are being read; try again later."
            headers = {"Retry-After": "1", "Connection": "close"}
            raise ApiError(HTTPStatus.SERVICE_UNAVAILABLE, detail, kind="busy", headers=headers) from None
        try:
            yield
        finally:
            self._turns.release()

    def _too_large(self) -> ApiError:
        detail = f"The body is larger than {self._limit:,} bytes."
        return ApiError(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail, kind="body-too-large", headers={"Connection": "close"}
        )


def _is_same_user(scope: Scope) -> bool:
    """Return True if the user of this process sent the request. Asks the kernel once per connection."""
    known: dict[str, bool] = scope.get("state", {}).get(PEER, {})
    if "same user" not in known:
        client, server = scope.get("client"), scope.get("server")
        known["same user"] = client is not None and server is not None and is_same_user(tuple(client), tuple(server))
    return known["same user"]


def _is_large(headers: dict[bytes, bytes]) -> bool:
    return b"transfer-encoding" in headers or int(headers.get(b"content-length", b"0")) > LARGE_BODY


def _read_correlation_id(headers: dict[bytes, bytes]) -> str:
    given = headers.get(CORRELATION.encode(), b"")
    return given.decode() if _ID.fullmatch(given) else str(uuid.uuid4())
