"""Events from a file or a pipe, read one by one: memory is bounded by the largest event."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from tempfile import SpooledTemporaryFile
from typing import BinaryIO

from skyferry.errors import EventError
from skyferry.events.fields import MAX_BODY

MAX_LENGTH = 2 * MAX_BODY  # bytes of one line, or characters of one element of an array
CHUNK = 2**16
IN_MEMORY = 2**22  # bytes; more are spooled to a temporary file
_SPACE = re.compile(r"[ \t\r\n]*")
LocatedBody = tuple[str, bytes]  # its position ("line 3", "event 3", "" = the only one), and the event


def read_bodies(stream: BinaryIO) -> Iterator[LocatedBody]:
    """Yield the events of one JSON object, an array, or JSON lines. Raises EventError after the events before the fault."""
    number, first = _read_line(stream, 0)
    if not first:
        return
    try:
        value = json.loads(first)
    except (ValueError, RecursionError):
        yield from _read_multiline(first, stream)
        return
    after, second = _read_line(stream, number)
    if not second:
        yield from _ArrayReader(first, stream) if isinstance(value, list) else [("", first)]
        return
    del value
    yield f"line {number}", first
    while second:
        yield f"line {after}", second
        after, second = _read_line(stream, after)


class Spool:
    """Buffers bodies until all of them are checked. Must be closed."""

    def __init__(self) -> None:
        self._file = SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115 - closed by `close`
        self.count = 0

    def add(self, body: bytes) -> None:
        """Append a body."""
        self._file.write(len(body).to_bytes(4, "big") + body)
        self.count += 1

    def batches(self, limit: int, size: int) -> Iterator[list[bytes]]:
        """Yield all bodies in order, in batches of at most `limit` bodies and about `size` bytes."""
        self._file.seek(0)
        batch: list[bytes] = []
        buffered = 0
        while head := self._file.read(4):
            length = int.from_bytes(head, "big")
            batch.append(self._file.read(length))
            buffered += length
            if len(batch) == limit or buffered >= size:
                yield batch
                batch, buffered = [], 0
        if batch:
            yield batch

    def close(self) -> None:
        """Delete the buffer."""
        self._file.close()


def _read_line(stream: BinaryIO, number: int) -> tuple[int, bytes]:
    """Return the next line that is not blank, and its number; b"" at the end."""
    while line := stream.readline(MAX_LENGTH + 1):
        number += 1
        if len(line) > MAX_LENGTH and line.lstrip()[:1] != b"[":
            raise EventError(
                f"the line is longer than {MAX_LENGTH:,} bytes", where=f"line {number}", hint="write one event per line"
            )
        if line.strip():
            return number, line
    return number, b""


def _read_multiline(first: bytes, stream: BinaryIO) -> Iterator[LocatedBody]:
    """Read an array, an object on several lines, or lines that are not JSON."""
    begin = first.lstrip()[:1]
    if begin == b"[":
        yield from _ArrayReader(first, stream)
    elif begin == b"{":
        whole = first + stream.read(MAX_LENGTH)
        try:
            json.loads(whole)
        except (ValueError, RecursionError) as error:
            raise EventError(f"the message is not JSON: {error}", where="line 1") from error
        yield "", whole
    else:
        number, line = 1, first
        while line:
            yield f"line {number}", line
            number, line = _read_line(stream, number)


class _ArrayReader:
    """Yields the elements of one JSON array, byte by byte as written."""

    def __init__(self, first: bytes, stream: BinaryIO) -> None:
        self._stream = stream
        self._decode = codecs.getincrementaldecoder("utf-8")().decode
        self._scan = json.JSONDecoder().raw_decode
        self._text, self._at, self._ended, self._count = "", 0, False, 0  # the text before `_at` is consumed
        self._add(first)

    def __iter__(self) -> Iterator[LocatedBody]:
        self._expect("[")
        while not (self._count == 0 and self._next() == "]"):
            self._count += 1
            yield f"event {self._count}", self._element().encode("utf-8", "surrogatepass")
            if self._next() == "]":
                break
            self._expect(",")
        self._expect("]")
        if self._next():
            raise EventError(
                "the array is followed by more text",
                where=f"after event {self._count}",
                hint="write one array, or one event per line",
            )

    def _element(self) -> str:
        self._next()
        size = CHUNK
        while True:
            try:
                _, end = self._scan(self._text, self._at)
            except (ValueError, RecursionError) as error:
                if self._ended or len(self._text) - self._at > MAX_LENGTH:
                    raise EventError("the event is not JSON, or is too long", where=f"event {self._count}") from error
                self._more(size := 2 * size)
            else:
                found, self._at = self._text[self._at : end], end
                return found

    def _expect(self, mark: str) -> None:
        if self._next() != mark:
            raise EventError(
                f"{mark!r} is missing",
                where=f"after event {self._count}",
                hint="complete the array; it is truncated or not JSON",
            )
        self._at += 1

    def _next(self) -> str:
        """Return the next character that is not white space; "" at the end."""
        while True:
            self._at = _SPACE.match(self._text, self._at).end()  # type: ignore[union-attr]  # the pattern matches the empty string
            if self._at < len(self._text) or self._ended:
                return self._text[self._at : self._at + 1]
            self._more(CHUNK)

    def _more(self, size: int) -> None:
        data = self._stream.read(size)
        self._ended = not data
        self._add(data)

    def _add(self, data: bytes) -> None:
        try:
            self._text, self._at = self._text[self._at :] + self._decode(data, not data), 0
        except UnicodeDecodeError as error:
            raise EventError("the text is not UTF-8", where=f"after event {self._count}") from error
