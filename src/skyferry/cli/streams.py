"""Standard output and standard error that tolerate closed, full and stalled readers, and standard input whose reads can be ended.

Standard error never fails. Standard output fails a command with `OutputLost`, because its output is its result. `run` calls
`tolerate_loss`, because its lines are less important than transfers.
"""

from __future__ import annotations

import codecs
import errno
import io
import os
import select
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

PATIENCE = (
    0.1  # seconds to wait once for a slow reader, which must be ready after that, or between looks if input was ended
)
ROOM = select.PIPE_BUF  # bytes that a ready pipe accepts without waiting
ESCAPED = "skyferry.escaped"  # name of the handler of characters that the encoding of the terminal lacks


class OutputLost(Exception):
    """Raised when standard output cannot be written."""

    def __init__(self, error: OSError) -> None:
        super().__init__(f"standard output cannot be written: {error.strerror}")
        self.broken = isinstance(error, BrokenPipeError)  # the reader has closed the pipe


class TolerantStream(io.RawIOBase):
    """A writable file descriptor. It reports only the first failure, and drops everything afterwards."""

    def __init__(self, number: int, *, lossy: bool) -> None:
        super().__init__()
        self.lossy = lossy
        self._number = number
        self._failed = False
        self._late = False  # the reader did not accept the last bytes in time

    def write(self, data: ReadableBuffer, /) -> int:
        """Accept all bytes. Raises OutputLost on the first failure."""
        octets = bytes(data)
        try:
            self._write_lossy(octets) if self.lossy else self._write_all(octets)
        except OSError as error:
            if not self.lossy and not self._failed:
                self._failed = True
                raise OutputLost(error) from error
        return len(octets)

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._number

    def isatty(self) -> bool:
        return os.isatty(self._number)

    def _write_all(self, octets: bytes) -> None:
        while octets:
            octets = octets[os.write(self._number, octets) :]

    def _write_lossy(self, octets: bytes) -> None:
        """Drop the bytes if the reader of a pipe or terminal is slow: it must not delay the service."""
        ready = select.poll()
        ready.register(self._number, select.POLLOUT)
        while octets:
            if not ready.poll(0.0 if self._late else PATIENCE * 1000):
                self._late = True
                return
            self._late = False
            octets = octets[os.write(self._number, octets[:ROOM]) :]


class EndableInput(io.RawIOBase):
    """Standard input for a thread. Python waits for its threads at the exit, so one that waits for input must be ended."""

    def __init__(self) -> None:
        super().__init__()
        self._number = sys.stdin.fileno()
        self._ended = threading.Event()

    def end(self) -> None:
        """Let reads that wait, and later ones, raise OSError."""
        self._ended.set()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Wait until there is something to read, and read it. Raises OSError."""
        while not (self._ended.is_set() or select.select([self._number], [], [], PATIENCE)[0]):
            pass
        if self._ended.is_set():
            raise OSError(errno.ECANCELED, os.strerror(errno.ECANCELED))
        return os.readv(self._number, [buffer])


def install_streams() -> None:
    """Replace the standard streams by tolerant ones. Opens closed descriptors, so that other files do not get their numbers."""
    codecs.register_error(ESCAPED, _escape_characters)
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:  # the lowest free number is this one; to use it fails, as with a closed descriptor
            os.open(os.devnull, os.O_WRONLY if number == 0 else os.O_RDONLY)
    if sys.stdin is None:
        sys.stdin = open(0, closefd=False)  # noqa: SIM115 - open until the process ends
    if sys.stdout is None or sys.stdout is sys.__stdout__:
        sys.stdout = _wrap_descriptor(1, sys.stdout, lossy=False)
    if sys.stderr is None or sys.stderr is sys.__stderr__:
        sys.stderr = _wrap_descriptor(2, sys.stderr, lossy=True)


def tolerate_loss() -> None:
    """Drop lines of standard output that cannot be written, from now on."""
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    if isinstance(raw, TolerantStream):
        raw.lossy = True


@contextmanager
def flush_on_exit() -> Iterator[None]:
    """Flush standard output on exit. Raises OutputLost, even during another exception."""
    try:
        yield
    finally:
        if isinstance(getattr(getattr(sys.stdout, "buffer", None), "raw", None), TolerantStream):
            sys.stdout.flush()


def _wrap_descriptor(number: int, old: io.TextIOWrapper | None, *, lossy: bool) -> io.TextIOWrapper:
    with suppress(OSError):
        if old is not None:
            old.flush()
    raw = TolerantStream(number, lossy=lossy)
    encoding = old.encoding if old else "utf-8"
    return io.TextIOWrapper(
        io.BufferedWriter(raw), encoding, ESCAPED, line_buffering=raw.isatty() or lossy, write_through=lossy
    )


def _escape_characters(error: UnicodeError) -> tuple[str, int]:
    r"""Write characters that cannot be encoded as `\u2713`, which JSON reads as well, rather than fail a command at its output."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    units = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[i : i + 4]}" for i in range(0, len(units), 4)), error.end
