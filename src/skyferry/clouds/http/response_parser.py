"""Parse the response to one request. Pure: it receives bytes, and knows no connection.

httptools judges the head, and it is split here: a callback for each header would take longer than both. The end of the head and of
the body are found here, to the byte: whatever follows must never pass for the answer to the next request. Anything irregular
raises ConnectionLost. No error repeats bytes of the server.
"""

from __future__ import annotations

import io
import re
from functools import lru_cache

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from skyferry.bodies import LARGE, BufferPool, as_bytes
from skyferry.clouds.http.chunks import ChunkDecoder
from skyferry.errors import ConnectionLost, StoreError

HEAD = 64 * 2**10  # bytes of all heads of one response
HEADERS = 200  # of one head
INTERIM = 16  # responses 1xx before the final one
BYTES = ("utf-8", "surrogateescape")  # encoding of header values, as in aiohttp
_END = b"\r\n\r\n"
# httptools takes RTSP as well, and control characters in the reason.
_STATUS = re.compile(r"HTTP/(1\.[01]) ([0-9]{3})(?: [^\x00-\x08\x0a-\x1f\x7f]*)?\r\n")
_FIELD = re.compile(r"([^:]+):(.*)\r\n")


class ResponseParser:
    """The response to one request, as it arrives."""

    def __init__(self, method: str, limit: int, error_limit: int, buffers: BufferPool | None = None) -> None:
        """`limit` is that of the body in bytes, `error_limit` that of the body of an error response.

        With `buffers`, a large range of an object is a view of memory from there.
        """
        self._method, self._limit, self._error_limit, self._buffers = method, limit, error_limit, buffers
        self._head: _Head | None = _Head()
        self._size = self._interim = 0
        self._length: int | None = None  # bytes of the body, as declared
        self._chunks: ChunkDecoder | None = None
        self._body = io.BytesIO()
        self._range: memoryview | None = None  # instead, for a large range; with a byte more, which shows excess
        self._at = 0  # bytes of it that have come
        self._whole: bytes | None = None  # the body, if it arrived at once
        self.status = 0
        self.headers: dict[str, str] = {}  # names in lower case; the first value of a repeated name
        self.complete = False
        self.excess = False  # bytes have followed the response
        self.keep_alive = False  # the connection may be used again, if the request was sent completely

    def feed(self, data: bytes) -> None:
        """Parse the next bytes. Raise ConnectionLost for an irregular response, StoreError for a body above the limit."""
        if self._head is not None:
            data = self._feed_head(data)
        if self.complete:
            self.excess = self.excess or bool(data)
        elif data:
            self._feed_body(data)

    @property
    def vacant(self) -> memoryview | None:
        """Memory to receive the next bytes of a large range into, and one byte more. None if other bytes are due."""
        return None if self._range is None or self.complete else self._range[self._at :]

    @property
    def may_begin_range(self) -> bool:
        """Return True if a head is due that a large range may follow."""
        return self._head is not None and self._buffers is not None and self._limit >= LARGE

    def take(self, size: int) -> None:
        """Take bytes that were received into `vacant`."""
        assert self._range is not None  # or there is no vacant memory
        length, self._at = len(self._range) - 1, self._at + size
        self.complete, self.excess = self._at >= length, self._at > length
        self._at = min(self._at, length)

    def end(self) -> None:
        """Take the end of the connection. Raise ConnectionLost if the response is incomplete."""
        if self._head is None and self._length is None and self._chunks is None:
            self.complete = True
        if not self.complete:
            raise ConnectionLost("the answer ended early" if self.begun else "the server closed the connection")

    @property
    def begun(self) -> bool:
        """Return True if at least one byte has arrived."""
        return self._size > 0

    @property
    def body(self) -> bytes:
        """The body, or its beginning. It is in memory once."""
        if self._range is not None:
            return as_bytes(self._range[: self._at])
        if self._whole is None:
            self._body.truncate()
            self._whole = self._body.getvalue()
        return self._whole

    def _feed_head(self, data: bytes) -> bytes:
        """Return the bytes that follow the final head."""
        while data and self._head is not None:
            tail = self._head.raw[-3:]
            at = (tail + data).find(_END)
            cut = at + len(_END) - len(tail) if at >= 0 else len(data)
            piece, data = data[:cut], data[cut:]
            self._size += len(piece)
            if self._size > HEAD:
                raise ConnectionLost(f"the answer has more than {HEAD} bytes of headers")
            self._head.feed(piece)
            if self._head.complete is not (at >= 0):
                raise ConnectionLost("the answer is not HTTP/1.1")
            if at >= 0:
                self._finish_head(self._head)
        return data

    def _finish_head(self, head: _Head) -> None:
        head.parse()
        if 100 <= head.status < 200:
            self._interim += 1
            if head.status == 101 or self._interim > INTERIM:
                raise ConnectionLost(f"the server answers {head.status}, which was not asked for")
            self._head = _Head()
            return
        self._head, self.status = None, head.status
        self.headers = {_lower(name): value.strip(" \t") for name, value in head.fields}
        if len(self.headers) < len(head.fields):  # a name is repeated
            self.headers |= {_lower(name): value.strip(" \t") for name, value in reversed(head.fields)}
        self.keep_alive = head.version == "1.1"
        if "connection" in self.headers:
            options = ",".join(self._all_values(head, "connection")).lower().split(",")
            self.keep_alive = self.keep_alive and "close" not in map(str.strip, options)
        self._begin_body(head)

    def _begin_body(self, head: _Head) -> None:
        codings = self._all_values(head, "transfer-encoding") if "transfer-encoding" in self.headers else []
        length = self.headers.get("content-length")
        if codings and (
            length is not None or [each.lower() for each in codings] != ["chunked"] or head.version != "1.1"
        ):
            raise ConnectionLost("the length of the answer is ambiguous")
        if self._method == "HEAD" or self.status in (204, 304):
            self.complete, self._whole = True, b""
        elif codings:
            self._chunks = ChunkDecoder(self._body.write, self._check_room)
        elif length is not None:
            self._length = int(length)  # digits, and only once: httptools refuses others
            if self._length > (room := self._room):
                raise StoreError(f"the server sends {self._length} bytes where {room} were asked for")
            self.complete = self._length == 0
            if self._buffers is not None and self._length >= LARGE and self._is_range:
                self._range = self._buffers.allocate(self._length + 1)
        else:
            self.keep_alive = False  # it lasts until the connection ends

    @property
    def _is_range(self) -> bool:
        """Return True for a part of an object. `rclone serve s3` sends status 200 with it."""
        return self.status in (200, 206) and "content-range" in self.headers

    def _all_values(self, head: _Head, wanted: str) -> list[str]:
        return [value.strip(" \t") for name, value in head.fields if _lower(name) == wanted]

    def _feed_body(self, data: bytes) -> None:
        if self._chunks is not None:
            self._chunks.feed(data)
            self.complete, self.excess = self._chunks.complete, self._chunks.excess
        elif self._length is None:
            self._check_room(len(data))
            self._body.write(data)
        elif self._range is not None:
            self._feed_range(data, self._range)
        else:
            self._feed_length(data, self._length)

    def _feed_range(self, data: bytes, view: memoryview) -> None:
        piece = data[: len(view) - self._at]
        view[self._at : self._at + len(piece)] = piece
        self.take(len(piece))

    def _feed_length(self, data: bytes, length: int) -> None:
        at = self._body.tell()
        if not at and len(data) >= length:
            self._whole, self.complete, self.excess = data[:length], True, len(data) > length
            return
        if not at:  # allocate it once
            self._body.seek(length - 1)
            self._body.write(b"\0")
            self._body.seek(0)
        self._body.write(data[: length - at])
        self.complete, self.excess = at + len(data) >= length, at + len(data) > length

    @property
    def _room(self) -> int:
        return self._limit if self.status < 400 else self._error_limit

    def _check_room(self, size: int) -> None:
        if self._body.tell() + size > self._room:
            raise StoreError(f"the server sends more than the {self._room} bytes that were asked for")


class _Head:
    """The status line and the headers of one response."""

    def __init__(self) -> None:
        self.raw = b""
        self.complete = False
        self.status, self.version = 0, ""
        self.fields: list[tuple[str, str]] = []
        self._parser: HttpResponseParser | None = HttpResponseParser(self)

    def feed(self, data: bytes) -> None:
        """Take the next bytes. Raise ConnectionLost as soon as they are irregular."""
        if self._parser is None:
            raise ConnectionLost("the answer is not HTTP/1.1")
        self.raw += data
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade:
            pass  # the status says so
        except HttpParserError as irregular:
            self._parser = None
            raise ConnectionLost(f"the answer is not HTTP/1.1: {irregular}") from irregular

    def on_headers_complete(self) -> None:
        self.complete = True

    def parse(self) -> None:
        """Split a complete head. Raise ConnectionLost if it has a line that is no header."""
        self._parser = None  # they refer to each other
        text = self.raw.decode(*BYTES)
        start = _STATUS.match(text)
        if start is None:
            raise ConnectionLost("the answer is not HTTP/1.1")
        self.version, self.status = start[1], int(start[2])
        self.fields = _FIELD.findall(text, start.end())
        if len(self.fields) > HEADERS:
            raise ConnectionLost(f"the answer has more than {HEADERS} headers")
        if text.count("\n") != len(self.fields) + 2:  # those of the status line and of the empty line
            raise ConnectionLost("the answer is not HTTP/1.1")


@lru_cache(1024)
def _lower(name: str) -> str:
    return name.lower()
