"""What every request passes first: its correlation id, the access check, the media type, the limit of its body.

A HEAD is answered as the GET that it stands for; the HTTP server leaves the body out.
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

from skyferry.server.access_control import Access
from skyferry.server.connections.connection import PEER
from skyferry.server.connections.peer import is_our_user
from skyferry.server.problems import CORRELATION, SCOPE, ApiError, respond

_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_JSON = re.compile(rb"application/([a-z0-9.-]+\+)?json")
KNOWN = "skyferry.known"  # in the scope: whether who asks may know everything
PUSH = "/v1/push/"  # providers send there what is not JSON by name, and each door checks by itself who comes
SMALL = 64 * 2**10  # bytes; as many such bodies may be in memory as there are connections
LARGE = 8  # larger ones at once
TURN = 5.0  # seconds that a large one waits for others to be done with
_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


class Gate:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp, access: Access, body_limit: int) -> None:
        self._app, self._access, self._limit = app, access, body_limit
        self._turns = asyncio.Semaphore(LARGE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or hand on to the application."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers: dict[bytes, bytes] = dict(scope["headers"])
        correlation_id = scope[SCOPE] = _correlation_id(headers)

        async def tagged(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS | {CORRELATION: correlation_id})
            await send(message)

        if scope["method"] == "HEAD":
            scope = {**scope, "method": "GET"}
        pushed = scope["path"].startswith(PUSH)
        try:
            if not pushed:
                await self._access.refresh()
                scope[KNOWN] = self._access.check(scope["method"], scope["path"], headers, partial(_is_ours, scope))
            self._check_body(headers, any_type=pushed)
        except ApiError as error:
            await respond(error, correlation_id)(scope, receive, tagged)
        else:
            async with AsyncExitStack() as turn:
                await self._app(scope, self._limited(receive, _is_large(headers), turn), tagged)

    def _check_body(self, headers: dict[bytes, bytes], *, any_type: bool) -> None:
        """Before a byte of it is read. A form or a plain text could come from any web page; JSON cannot."""
        if {b"content-length", b"transfer-encoding"} <= headers.keys():  # a proxy may go by the other: RFC 9112, 6.3
            why = "Both Content-Length and Transfer-Encoding say how long the body is."
            raise ApiError(HTTPStatus.BAD_REQUEST, why, kind="ambiguous-length", headers={"Connection": "close"})
        length = headers.get(b"content-length", b"0")
        if length == b"0" and b"transfer-encoding" not in headers:
            return
        if not length.isdigit() or int(length) > self._limit:
            raise self._too_large()
        if not any_type and not _JSON.fullmatch(headers.get(b"content-type", b"").partition(b";")[0].strip().lower()):
            raise ApiError(
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
                "The body must be JSON.",
                hint="send the header Content-Type: application/json",
                headers={"Connection": "close"},
            )

    def _limited(self, receive: Receive, large: bool, turn: AsyncExitStack) -> Receive:
        """Count bytes. A large body is not read before it is its turn, which ends with the request."""
        left = self._limit

        async def counted() -> Message:
            nonlocal left, large
            if large:
                await turn.enter_async_context(self._turn())
                large = False
            message = await receive()
            left -= len(message.get("body", b""))
            if left < 0:
                raise self._too_large()
            return message

        return counted

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(TURN):
                await self._turns.acquire()
        except TimeoutError:
            detail = "Too many large bodies are being read."
            headers = {"Retry-After": "1", "Connection": "close"}
            raise ApiError(HTTPStatus.SERVICE_UNAVAILABLE, detail, kind="busy", headers=headers) from None
        try:
            yield
        finally:
            self._turns.release()

    def _too_large(self) -> ApiError:
        detail = f"The body may have {self._limit:,} bytes."
        return ApiError(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail, kind="body-too-large", headers={"Connection": "close"}
        )


def _is_ours(scope: Scope) -> bool:
    """Ask the kernel once per connection."""
    known: dict[str, bool] = scope.get("state", {}).get(PEER, {})
    if "ours" not in known:
        theirs, ours = scope.get("client"), scope.get("server")
        known["ours"] = theirs is not None and ours is not None and is_our_user(tuple(theirs), tuple(ours))
    return known["ours"]


def _is_large(headers: dict[bytes, bytes]) -> bool:
    return b"transfer-encoding" in headers or int(headers.get(b"content-length", b"0")) > SMALL


def _correlation_id(headers: dict[bytes, bytes]) -> str:
    given = headers.get(CORRELATION.encode(), b"")
    return given.decode() if _ID.fullmatch(given) else str(uuid.uuid4())
