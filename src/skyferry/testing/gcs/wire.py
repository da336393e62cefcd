"""Between HTTP and the fake: a request with its body counted, a reply, `fields`, and the faults that were planned."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import asdict, field
from typing import Any
from urllib.parse import parse_qsl, unquote

import orjson
from aiohttp import web
from aiohttp.web_request import BaseRequest

from skyferry.frozen import dataclass
from skyferry.testing.gcs.buckets import FakeRefusal
from skyferry.testing.servers.proxy import Exchange, Fault

KEPT = 100_000  # exchanges that are remembered
BLOCK = 2**20  # bytes of one write


class Dropped(Exception):
    """The connection is to be closed without an answer."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: tuple[bytes | memoryview, ...] = ()

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(len(piece) for piece in self.body)


def json_reply(document: object, fields: str = "", status: int = 200) -> Reply:
    """A document, of which `fields` names the parts that are wanted ("" = all)."""
    if fields and isinstance(document, dict):
        document = select_fields(document, parse_fields(fields))
    return Reply(status, {"content-type": "application/json; charset=UTF-8"}, (orjson.dumps(document),))


def answer_refusal(refusal: FakeRefusal, *, text: bool) -> Reply:
    """A refusal, as a document; downloads are refused in plain text."""
    if refusal.status == 304:
        return Reply(304)
    if text:
        return Reply(refusal.status, {"content-type": "text/html; charset=UTF-8"}, (refusal.message.encode(),))
    detail = {"message": refusal.message, "domain": "global", "reason": refusal.reason}
    error = {"code": refusal.status, "message": refusal.message, "errors": [detail]}
    return json_reply({"error": error}, status=refusal.status)


class Request:
    """One request, split up."""

    def __init__(self, request: BaseRequest, exchange: Exchange, fault: Fault) -> None:
        self._request, self._exchange, self._fault = request, exchange, fault
        path, _, query = request.raw_path.partition("?")
        self.method = request.method
        self.segments = [unquote(segment) for segment in path[1:].split("/")]
        self._pairs = parse_qsl(query, keep_blank_values=True)
        self.query = dict(self._pairs)
        self.headers = request.headers
        self.root = f"{request.scheme}://{request.host}"

    def all(self, name: str) -> list[str]:
        """Each value of a parameter that may be repeated."""
        return [value for each, value in self._pairs if each == name]

    async def pieces(self) -> AsyncIterator[bytes]:
        """The body, counted as it comes. Raises Dropped."""
        at = 0
        async for piece in self._request.content.iter_any():
            flip = self._fault.flip_request
            if flip is not None and at <= flip < at + len(piece):
                changed = bytearray(piece)
                changed[flip - at] ^= 1
                piece = bytes(changed)
            at += len(piece)
            self._exchange.received = at
            yield piece
            if self._fault.drop_request is not None and at >= self._fault.drop_request:
                raise Dropped

    async def body(self) -> bytes:
        """All of it."""
        return b"".join([piece async for piece in self.pieces()])

    async def document(self) -> dict[str, Any]:
        """The body as JSON; nothing is an empty document. Raises FakeRefusal."""
        body = await self.body()
        try:
            found = orjson.loads(body) if body else {}
        except orjson.JSONDecodeError as broken:
            raise FakeRefusal(400, "parseError", "Parse Error") from broken
        if not isinstance(found, dict):
            raise FakeRefusal(400, "parseError", "Parse Error")
        return found


class Script:
    """The planned faults, and the exchanges so far."""

    def __init__(self) -> None:
        self._faults: deque[Fault] = deque()
        self._exchanges: deque[Exchange] = deque(maxlen=KEPT)

    def begin(self, method: str, target: str) -> tuple[Exchange, Fault]:
        """Record a request and return its fault."""
        exchange = Exchange(method, target)
        self._exchanges.append(exchange)
        for fault in self._faults:
            if fault.method in ("", method) and fault.target in target:
                self._faults.remove(fault)
                return exchange, fault
        return exchange, Fault()

    async def tell(self, request: Request) -> Reply:
        """Answer requests to the paths under /_fake."""
        match request.method, request.segments[1:]:
            case "POST", ["faults"]:
                planned = orjson.loads(await request.body())
                self._faults.extend(Fault(**{**each, "body": each.get("body", "").encode()}) for each in planned)
            case "GET", ["faults"]:
                return json_reply({"pending": len(self._faults)})
            case "GET", ["exchanges"]:
                return json_reply([asdict(exchange) for exchange in self._exchanges])
            case "DELETE", ["exchanges"]:
                self._exchanges.clear()
            case _:
                raise FakeRefusal(404, "notFound")
        return Reply(204)


async def send_reply(request: BaseRequest, reply: Reply, exchange: Exchange, fault: Fault) -> web.StreamResponse:
    """Write the answer, as far as the fault allows."""
    if fault.status:
        reply = Reply(fault.status, fault.headers, (fault.body,))
    exchange.status = reply.status
    response = web.StreamResponse(status=reply.status, headers=reply.headers)
    response.content_length = reply.size
    await response.prepare(request)
    end = min(x for x in (fault.cut, fault.stall, reply.size) if x is not None)
    for block in _blocks(reply, end, fault.flip):
        await response.write(block)
    if fault.stall is not None:
        await asyncio.Event().wait()  # until the client gives up
    if fault.cut is not None:
        return drop_connection(request)
    await response.write_eof()
    return response


def drop_connection(request: BaseRequest) -> web.StreamResponse:
    """Nothing more on this connection."""
    if request.transport is not None:
        request.transport.close()
    return web.Response()


def _blocks(reply: Reply, end: int, flip: int | None) -> Iterable[bytes | memoryview]:
    at = 0
    for piece in reply.body:
        for start in range(0, len(piece), BLOCK):
            block = memoryview(piece)[start : min(start + BLOCK, max(end - at, 0) + start)]
            if flip is not None and at <= flip < at + len(block):
                changed = bytearray(block)
                changed[flip - at] ^= 1
                block = memoryview(changed)
            at += len(block)
            if block:
                yield block


def parse_fields(text: str) -> dict[str, Any]:
    """`a,b(c,d/e)` as a tree: {"a": {}, "b": {"c": {}, "d": {"e": {}}}}."""
    tree: dict[str, Any] = {}
    stack, name = [tree], ""

    def add(name: str) -> dict[str, Any]:
        here = stack[-1]
        for step in name.split("/"):
            here = here.setdefault(step, {})
        return here

    for char in f"{text},":
        if char == "(":
            stack.append(add(name))
            name = ""
        elif char in ",)":
            if name:
                add(name)
            name = ""
            if char == ")":
                stack.pop()
        else:
            name += char
    return tree


def select_fields(document: Any, wanted: Mapping[str, Any]) -> Any:
    """The parts of a document that a tree of `parse_fields` names."""
    if isinstance(document, list):
        return [select_fields(each, wanted) for each in document]
    if not wanted or "*" in wanted or not isinstance(document, dict):
        return document
    return {name: select_fields(document[name], below) for name, below in wanted.items() if name in document}
