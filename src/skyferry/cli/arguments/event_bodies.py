"""Events from a file or a pipe, one after the other, however many there are: memory is bounded by the largest of them."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from tempfile import SpooledTemporaryFile
from typing import BinaryIO

from skyferry.errors import EventError
from skyferry.events import MAX_BODY

LONGEST = 2 * MAX_BODY  # bytes of one line, or characters of one element of an array
CHUNK = 2**16
IN_MEMORY = 2**22  # bytes; more are spooled to a temporary file
_SPACE = re.compile(r"[ \t\r\n]*")
Placed = tuple[str, bytes]  # where it stands ("line 3", "event 3", "" = it is the only one), and the event


def read_bodies(stream: BinaryIO) -> Iterator[Placed]:
    """The events of one JSON object, of an array, or of one line each. Raises EventError; what was given before it counts too."""
    number, first = _line(stream, 0)
    if not first:
        return
    try:
        value = json.loads(first)
    except (ValueError, RecursionError):
        yield from _unfinished(first, stream)
        return
    after, second = _line(stream, number)
    if not second:
        yield from _Elements(first, stream) if isinstance(value, list) else [("", first)]
        return
    del value
    yield f"line {number}", first
    while second:
        yield f"line {after}", second
        after, second = _line(stream, after)


class Spool:
    """Bodies kept aside until all of them have been looked at. Close it."""

    def __init__(self) -> None:
        self._file = SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115 - closed by `close`
        self.count = 0

    def add(self, body: bytes) -> None:
        """Keep one."""
        self._file.write(len(body).to_bytes(4, "big") + body)
        self.count += 1

    def batches(self, most: int, size: int) -> Iterator[list[bytes]]:
        """All of them, in their order: up to `most` at once, and about `size` bytes."""
        self._file.seek(0)
        batch: list[bytes] = []
        held = 0
        while head := self._file.read(4):
            length = int.from_bytes(head, "big")
            batch.append(self._file.read(length))
            held += length
            if len(batch) == most or held >= size:
                yield batch
                batch, held = [], 0
        if batch:
            yield batch

    def close(self) -> None:
        """Remove what was kept."""
        self._file.close()


def _line(stream: BinaryIO, number: int) -> tuple[int, bytes]:
    """The next line that is not blank, and its number; b"" at the end."""
    while line := stream.readline(LONGEST + 1):
        number += 1
        if len(line) > LONGEST and line.lstrip()[:1] != b"[":
            raise EventError(f"is longer than {LONGEST:,} bytes", where=f"line {number}", hint="one event a line")
        if line.strip():
            return number, line
    return number, b""


def _unfinished(first: bytes, stream: BinaryIO) -> Iterator[Placed]:
    """Read events that do not end with their first line: an array, an object on several lines, or lines that are no JSON."""
    begin = first.lstrip()[:1]
    if begin == b"[":
        yield from _Elements(first, stream)
    elif begin == b"{":
        whole = first + stream.read(LONGEST)
        try:
            json.loads(whole)
        except (ValueError, RecursionError) as error:
            raise EventError(f"the message is not JSON: {error}", where="line 1") from error
        yield "", whole
    else:
        number, line = 1, first
        while line:
            yield f"line {number}", line
            number, line = _line(stream, number)


class _Elements:
    """Those of one array, as they are written."""

    def __init__(self, first: bytes, stream: BinaryIO) -> None:
        self._stream = stream
        self._decode = codecs.getincrementaldecoder("utf-8")().decode
        self._scan = json.JSONDecoder().raw_decode
        self._text, self._at, self._ended, self._count = "", 0, False, 0  # `_at`: what is before it is done with
        self._add(first)

    def __iter__(self) -> Iterator[Placed]:
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
                "more follows the array", where=f"behind event {self._count}", hint="one array, or one event a line"
            )

    def _element(self) -> str:
        self._next()
        size = CHUNK
        while True:
            try:
                _, end = self._scan(self._text, self._at)
            except (ValueError, RecursionError) as error:
                if self._ended or len(self._text) - self._at > LONGEST:
                    raise EventError("is not JSON, or is too long", where=f"event {self._count}") from error
                self._more(size := 2 * size)
            else:
                found, self._at = self._text[self._at : end], end
                return found

    def _expect(self, mark: str) -> None:
        if self._next() != mark:
            raise EventError(
                f"{mark!r} is missing",
                where=f"behind event {self._count}",
                hint="the array does not end, or is no JSON",
            )
        self._at += 1

    def _next(self) -> str:
        """The next character that is no white space; "" at the end."""
        while True:
            self._at = _SPACE.match(self._text, self._at).end()  # type: ignore[union-attr]  # it matches nothing, too
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
            raise EventError("is not UTF-8", where=f"behind event {self._count}") from error
