"""Decode the chunked transfer coding (RFC 9112, 7.1), strictly. Pure."""

from __future__ import annotations

from collections.abc import Callable

from skyferry.errors import ConnectionLost
from skyferry.regex import compile_lazily

LINE = 1024  # bytes of a line with a chunk size; no service that we know sends extensions
TRAILERS = 8 * 2**10  # bytes of all trailer fields, which are discarded
_SIZE = compile_lazily(rb"([0-9a-fA-F]{1,16})(?:[ \t]*;[\t\x20-\x7e\x80-\xff]*)?")
_TRAILER = compile_lazily(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*")


class ChunkDecoder:
    """The decoder of one body. It gives the data of chunks to `write`, which may raise."""

    def __init__(self, write: Callable[[bytes], object], reserve: Callable[[int], None]) -> None:
        """`reserve` receives the size of each chunk before its data, and may raise."""
        self._write, self._reserve = write, reserve
        self._step: Callable[[], bool] = self._read_size
        self._buffer = b""
        self._left = 0  # bytes of the current chunk
        self._trailers = 0  # bytes
        self.complete = False

    @property
    def excess(self) -> bool:
        """Return True if bytes have followed the complete body."""
        return self.complete and bool(self._buffer)

    def feed(self, data: bytes) -> None:
        """Decode the next bytes. Raise ConnectionLost if they are not chunks."""
        self._buffer = self._buffer + data if self._buffer else data
        while not self.complete and self._step():
            pass

    def _read_size(self) -> bool:
        line = self._take_line(LINE)
        if line is None:
            return False
        found = _SIZE.fullmatch(line)
        if found is None:
            raise ConnectionLost("the answer has an invalid chunk size")
        self._left = int(found[1], 16)
        self._reserve(self._left)
        self._step = self._read_data if self._left else self._read_trailer
        return True

    def _read_data(self) -> bool:
        piece, self._buffer = self._buffer[: self._left], self._buffer[self._left :]
        self._left -= len(piece)
        if piece:
            self._write(piece)
        if self._left:
            return False
        self._step = self._read_data_end
        return True

    def _read_data_end(self) -> bool:
        if not b"\r\n".startswith(self._buffer[:2]):
            raise ConnectionLost("the answer has a chunk of another length than declared")
        if len(self._buffer) < 2:
            return False
        self._buffer = self._buffer[2:]
        self._step = self._read_size
        return True

    def _read_trailer(self) -> bool:
        line = self._take_line(TRAILERS - self._trailers)
        if line is None:
            return False
        self._trailers += len(line) + 2
        if not line:
            self.complete = True
        elif _TRAILER.fullmatch(line) is None:
            raise ConnectionLost("the answer has an invalid trailer")
        return True

    def _take_line(self, limit: int) -> bytes | None:
        """Return the next line without its end, or None if it has not arrived completely."""
        line, end, rest = self._buffer.partition(b"\r\n")
        if len(line) > limit or b"\n" in line:
            raise ConnectionLost("the answer has an invalid line between its chunks")
        if not end:
            return None
        self._buffer = rest
        return line
