"""Standard output and standard error that may be closed, full, or read by none: lines may be lost, and nothing else.

Standard error never fails. Standard output fails a command with `OutputLost`, because what a command prints is its result;
but `run` calls `lose`, because its lines are not worth a transfer.
"""

from __future__ import annotations

import io
import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

PATIENCE = 0.1  # seconds that a reader may keep a writer waiting, once; after that it must be ready
ROOM = select.PIPE_BUF  # bytes that a pipe which is ready takes without waiting


class OutputLost(Exception):
    """Standard output cannot be written."""

    def __init__(self, error: OSError) -> None:
        super().__init__(f"standard output cannot be written: {error.strerror}")
        self.broken = isinstance(error, BrokenPipeError)  # its reader went away


class Raw(io.RawIOBase):
    """A file descriptor that can be written to. After a first failure that is told, everything is lost silently."""

    def __init__(self, number: int, *, lossy: bool) -> None:
        super().__init__()
        self.lossy = lossy
        self._number = number
        self._failed = False
        self._late = False  # the reader did not take the last bytes in time

    def write(self, data: ReadableBuffer, /) -> int:
        """Take all of it."""
        octets = bytes(data)
        try:
            self._lossily(octets) if self.lossy else self._wholly(octets)
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

    def _wholly(self, octets: bytes) -> None:
        while octets:
            octets = octets[os.write(self._number, octets) :]

    def _lossily(self, octets: bytes) -> None:
        """Give up where the reader of a pipe or a terminal does not take them: it must not hold up the service."""
        ready = select.poll()
        ready.register(self._number, select.POLLOUT)
        while octets:
            if not ready.poll(0.0 if self._late else PATIENCE * 1000):
                self._late = True
                return
            self._late = False
            octets = octets[os.write(self._number, octets[:ROOM]) :]


def install() -> None:
    """Put guarded streams in place of Python's own. Descriptors that are closed are opened, for others would get their numbers."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:  # its number is the lowest that is free
            os.open(os.devnull, os.O_RDONLY)  # to write to it fails, as to a closed one
    if sys.stdin is None:
        sys.stdin = open(0, closefd=False)  # noqa: SIM115 - for as long as the process lives
    if sys.stdout is None or sys.stdout is sys.__stdout__:
        sys.stdout = _text(1, sys.stdout, lossy=False)
    if sys.stderr is None or sys.stderr is sys.__stderr__:
        sys.stderr = _text(2, sys.stderr, lossy=True)


def lose() -> None:
    """From here on, lines of standard output that cannot be written are lost."""
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    if isinstance(raw, Raw):
        raw.lossy = True


@contextmanager
def flushed() -> Iterator[None]:
    """Write standard output out at the end. Raises OutputLost, whatever else the end was."""
    try:
        yield
    finally:
        if isinstance(getattr(getattr(sys.stdout, "buffer", None), "raw", None), Raw):
            sys.stdout.flush()


def _text(number: int, old: io.TextIOWrapper | None, *, lossy: bool) -> io.TextIOWrapper:
    with suppress(OSError):
        if old is not None:
            old.flush()
    raw = Raw(number, lossy=lossy)
    encoding, errors = (old.encoding, old.errors) if old else ("utf-8", "backslashreplace")
    return io.TextIOWrapper(
        io.BufferedWriter(raw), encoding, errors, line_buffering=raw.isatty() or lossy, write_through=lossy
    )
