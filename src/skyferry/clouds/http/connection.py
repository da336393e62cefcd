"""One connection of HTTP/1.1, which carries one request at a time."""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import AsyncGenerator
from math import inf
from typing import cast

from skyferry.bodies import StreamedBody
from skyferry.clouds.http.limits import Limits
from skyferry.clouds.http.request import PlainRequest, split_body
from skyferry.clouds.http.response_parser import ResponseParser
from skyferry.errors import ConnectionLost, StoreError, StoreTimeout
from skyferry.tasks.deadlines import DeadlineSweep

FIRST = 16 * 2**10  # bytes received with the head of a range: the rest goes to where it stays, these are copied


class HttpConnection(asyncio.BufferedProtocol):
    """The client's end of a connection. The bytes of a large range are received where they stay."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, sweep: DeadlineSweep[HttpConnection], limits: Limits, shared: memoryview
    ) -> None:
        """`shared` receives all other bytes. Connections of one event loop may share it, for they take these at once."""
        self._loop, self._sweep, self._limits, self._shared = loop, sweep, limits, shared
        self._first = shared[:FIRST]
        self._is_direct = False  # the next bytes are received into the parser's memory
        self._transport: asyncio.Transport | None = None
        self._pieces: deque[bytes | memoryview] = deque()  # of the request, not yet given to the transport
        self._paused = False
        self._streaming = False  # more of the body is being read
        self._taken: asyncio.Future[None] | None = None  # the transport has sent all pieces so far
        self._parser: ResponseParser | None = None
        self._done: asyncio.Future[None] | None = None  # the end of the current exchange
        self._first_byte = limits.read_timeout
        self._reusable = True
        self._ends = self.deadline = 0.0
        self.idle_since = 0.0
        self.closed: asyncio.Future[None] = loop.create_future()

    @property
    def reusable(self) -> bool:
        """Return True if another request may be sent: the last response ended exactly, and nothing followed it."""
        return self._reusable and self._transport is not None and not self._transport.is_closing()

    @property
    def tls(self) -> ssl.SSLObject | None:
        """Return the connection's end of TLS."""
        return self._transport.get_extra_info("ssl_object") if self._transport is not None else None

    async def exchange(self, request: PlainRequest, parser: ResponseParser, first_byte: float) -> None:
        """Send a request, and feed the response to `parser`. `first_byte`: seconds until the response begins.

        The time that a streamed body takes to be read does not count. Raise ConnectionLost, StoreTimeout, BodyFailed, or what
        the parser raises. After an error, or a cancellation, the connection is closed.
        """
        if (
            self._transport is None or self._transport.is_closing()
        ):  # since it was opened: its end is not reported again
            raise ConnectionLost("the server closed the connection before the request")
        self._pieces, self._parser, self._first_byte = request.split(), parser, first_byte
        self._reusable, self._streaming = False, request.stream is not None
        self._ends = inf if self._streaming else self._loop.time() + self._limits.total_timeout
        done = self._done = self._loop.create_future()
        try:
            self._send()
            self._sweep.watch(self)
            if request.stream is not None:
                await self._send_stream(request.stream, done)
            await done
            unsent = self._pieces or self._paused or self._streaming
            self._reusable = parser.keep_alive and not parser.excess and not unsent
        finally:
            self._sweep.forget(self)
            self._parser = self._done = self._taken = None
            self._pieces.clear()
            self._streaming = False
            if not self._reusable:
                self.abort()

    def abort(self) -> None:
        """Close the connection at once."""
        self._reusable = False
        if self._transport is not None and not self.closed.done():
            self._transport.abort()

    def expire(self) -> None:
        """Fail the exchange: the server neither takes nor sends bytes, or does it too slowly."""
        limits = self._limits
        late = self.deadline >= self._ends
        self._fail(StoreTimeout(f"no answer within {limits.total_timeout:g} s" if late else limits.silence))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        # A pause means that the server does not take the bytes. With 0, asyncio's TLS would never resume.
        self._transport.set_write_buffer_limits(high=1, low=0)

    def get_buffer(self, sizehint: int) -> memoryview:
        parser = self._parser
        into = parser.vacant if parser is not None else None
        self._is_direct = into is not None
        if into is not None:
            return into
        return self._first if parser is not None and parser.may_begin_range else self._shared

    def buffer_updated(self, nbytes: int) -> None:
        if self._parser is None or self._done is None or self._done.done():
            if self._parser is not None:
                self._parser.excess = True
            self.abort()  # bytes that no request has asked for
            return
        try:
            if self._is_direct:
                self._parser.take(nbytes)
            else:
                self._parser.feed(bytes(self._shared[:nbytes]))
        except StoreError as error:
            self._fail(error)
            return
        if self._parser.complete:
            self._done.set_result(None)
        else:
            self._move_deadline(self._limits.read_timeout)

    def eof_received(self) -> None:
        self._end(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(exc)
        if not self.closed.done():
            self.closed.set_result(None)

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        if self._done is not None and not self._done.done():
            self._send()

    async def _send_stream(self, body: StreamedBody, done: asyncio.Future[None]) -> None:
        """Send a body while it is read, one part after the other, until it or the exchange ends."""
        done.add_done_callback(self._notice_taken)
        parts, size = body.pieces(), 0
        try:
            async for part in parts:
                size += len(part)
                if size > body.size:  # the server would take the beginning for the whole
                    break
                self._pieces.extend(split_body(part))
                self._send()
                if (self._pieces or self._paused) and not done.done():
                    self._taken = self._loop.create_future()
                    await self._taken
                if done.done():  # the server has answered before it has the body, or is gone
                    return
                del part  # its memory is free for the next one
        finally:
            if isinstance(parts, AsyncGenerator):
                await parts.aclose()
            if done.done():
                done.exception()  # the error of the body comes before it, and asyncio would report it as never retrieved
        if size != body.size:
            raise ConnectionLost(f"the body has {size} bytes or more, {body.size} were announced")
        self._streaming, self._ends = False, self._loop.time() + self._limits.total_timeout
        self._send()

    def _notice_taken(self, _: object = None) -> None:
        if self._taken is not None and not self._taken.done():
            self._taken.set_result(None)

    def _send(self) -> None:
        """Give pieces to the transport until it has enough. Each has `read_timeout` to be taken."""
        while self._pieces and not self._paused and self._transport is not None and not self._transport.is_closing():
            self._transport.write(self._pieces.popleft())
        if self._pieces or self._paused:
            self._move_deadline(self._limits.read_timeout)
            return
        self._move_deadline(inf if self._streaming else self._first_byte)
        self._notice_taken()

    def _move_deadline(self, seconds: float) -> None:
        before, self.deadline = self.deadline, min(self._loop.time() + seconds, self._ends)
        if self.deadline < before:
            self._sweep.watch(self)

    def _end(self, error: Exception | None) -> None:
        """Take the end of the connection: the response ends with it, or is incomplete."""
        self._reusable = False
        if self._parser is None or self._done is None or self._done.done():
            return
        try:
            if error is not None:
                raise ConnectionLost(getattr(error, "strerror", "") or type(error).__name__) from error
            self._parser.end()
        except ConnectionLost as lost:
            self._fail(lost)
        else:
            self._done.set_result(None)

    def _fail(self, error: StoreError) -> None:
        if self._done is not None and not self._done.done():
            self._done.set_exception(error)
        self.abort()
