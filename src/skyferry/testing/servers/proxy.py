"""A proxy in front of any HTTP server that injects faults of networks and servers, and records the exchanges."""

from __future__ import annotations

import asyncio
import io
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import field
from types import TracebackType
from typing import Self

import aiohttp
from aiohttp import web
from yarl import URL

from skyferry.frozen import dataclass

HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "expect", "te", "trailer", "upgrade"}  # RFC 9110, 7.6.1
NONE: Mapping[str, str] = {}
START = 4096  # bytes of a body that are kept


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault of the next request that matches, once. Offsets are bytes into a body."""

    method: str = ""  # "" = any
    target: str = ""  # a part of the path and query as they were sent
    flip_request: int | None = None  # one bit of this byte arrives changed
    drop_request: int | None = None  # the connection is reset when so much has come
    status: int = 0  # this answer instead of the server's; 0 = the server's
    headers: Mapping[str, str] = field(default_factory=lambda: NONE)
    body: bytes = b""
    forward: bool = False  # with `status`: the server receives the request all the same
    early: bool = False  # with `status`: before the request's body has been read
    flip: int | None = None  # as for the request, in the answer
    cut: int | None = None  # the connection is closed when so much of the answer has been sent
    stall: int | None = None  # so much of the answer is sent, and then nothing


@dataclass(slots=True)
class Exchange:
    """One request that came."""

    method: str
    target: str
    received: int = 0  # bytes of the body
    status: int = 0  # of the answer; 0 = none was given
    sent: int = 0  # bytes of its body that were carried
    headers: Mapping[str, str] = field(default_factory=lambda: NONE, repr=False)  # of the request, in lower case
    answered: Mapping[str, str] = field(default_factory=lambda: NONE, repr=False)  # those of the server's answer
    start: str = field(default="", repr=False)  # the first bytes of the body, as Latin-1


Heard = Callable[[Exchange, bytes, bytes], None]  # the bodies of a request, as it was passed on, and of its answer


class FaultProxy:
    """`async with FaultProxy(url) as proxy`: use `proxy.url` instead, and `proxy.plan(...)` the faults."""

    def __init__(self, upstream: str, heard: Heard | None = None) -> None:
        """Call `heard` with each request that the server answered, and both bodies."""
        self._upstream, self._heard = upstream.rstrip("/"), heard
        self.exchanges: list[Exchange] = []
        self.url = ""
        self._faults: deque[Fault] = deque()

    def plan(self, *faults: Fault) -> None:
        """Plan faults. Each affects the first request that matches it, in this order."""
        self._faults.extend(faults)

    @property
    def pending(self) -> int:
        """Faults that have not happened yet."""
        return len(self._faults)

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            auto_decompress=False, skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent")
        )
        server = web.Server(self._handle, handler_cancellation=True)  # a stalled request ends with its client
        self._runner = web.ServerRunner(server, access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._runner.cleanup()
        await self._session.close()

    def _next(self, exchange: Exchange) -> Fault:
        for fault in self._faults:
            if fault.method in ("", exchange.method) and fault.target in exchange.target:
                self._faults.remove(fault)
                return fault
        return Fault()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        exchange = Exchange(request.method, request.raw_path, headers=_lower(request.headers))
        self.exchanges.append(exchange)
        fault = self._next(exchange)
        if fault.early:
            return _instead(exchange, fault)
        body = bytearray()
        async for chunk in request.content.iter_any():
            body += chunk
            exchange.received = len(body)
            exchange.start = body[:START].decode("latin-1")
            if fault.drop_request is not None and len(body) >= fault.drop_request:
                return _drop(request)
        if fault.flip_request is not None:
            body[fault.flip_request] ^= 1
        if fault.status and not fault.forward:
            return _instead(exchange, fault)
        return await self._forward(request, exchange, fault, bytes(body))

    def _passed(self, request: web.BaseRequest) -> dict[str, str]:
        """Return the headers to forward."""
        return {k: v for k, v in request.headers.items() if k.lower() not in HOP_BY_HOP}

    async def _forward(
        self, request: web.BaseRequest, exchange: Exchange, fault: Fault, body: bytes
    ) -> web.StreamResponse:
        url = URL(self._upstream + exchange.target, encoded=True)
        async with self._session.request(
            exchange.method, url, headers=self._passed(request), data=io.BytesIO(body), allow_redirects=False
        ) as answer:
            content = bytearray(await answer.read())
            exchange.answered = _lower(answer.headers)
            if fault.status:
                return _instead(exchange, fault)
            exchange.status = answer.status
            if self._heard:
                self._heard(exchange, body, bytes(content))
            response = web.StreamResponse(status=answer.status, reason=answer.reason)
            response.headers.extend((k, v) for k, v in answer.headers.items() if k.lower() not in HOP_BY_HOP)
        if fault.cut is not None and not content:  # its head would be the whole answer
            return _drop(request)
        if fault.flip is not None:
            content[fault.flip] ^= 1
        until = fault.cut if fault.cut is not None else fault.stall
        exchange.sent = len(content[:until])
        return await _answer(request, response, bytes(content[:until]), fault)


def _lower(headers: Mapping[str, str]) -> Mapping[str, str]:
    return {name.lower(): value for name, value in headers.items()}


async def _answer(
    request: web.BaseRequest, response: web.StreamResponse, content: bytes, fault: Fault
) -> web.StreamResponse:
    await response.prepare(request)
    if content:
        await response.write(content)
    if fault.cut is not None:
        return _drop(request)
    if fault.stall is not None:
        await asyncio.Event().wait()  # until the client gives up
    await response.write_eof()
    return response


def _instead(exchange: Exchange, fault: Fault) -> web.Response:
    """The answer that was planned."""
    exchange.status = fault.status
    return web.Response(status=fault.status, headers=fault.headers, body=fault.body)


def _drop(request: web.BaseRequest) -> web.StreamResponse:
    """Nothing more on this connection."""
    if request.transport is not None:
        request.transport.close()
    return web.Response()
