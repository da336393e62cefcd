"""Files of keys and of filter rules, given on the command line; `-` is standard input."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from io import BufferedReader
from itertools import islice

from skyferry.cli.streams import EndableInput
from skyferry.errors import ConfigError

PAGE = 200  # keys at a time
PIECE = 2**16  # bytes of one read
STDIN = "-"
_MARK = b"\xef\xbb\xbf"  # UTF-8 files of some editors begin with it


def read_lines(option: str, file: str) -> list[str]:
    """Return the lines of a small file. Raises ConfigError."""
    with _open(option, file) as opened:
        return [_decode(option, file, number, line) for number, line in enumerate(_read(option, file, opened), 1)]


def open_keys(option: str, file: str) -> Callable[[], AsyncIterator[list[str]]]:
    """Open a file of keys, one per line, or separated by NUL; return a function that reads it once, in pages.

    A key is taken as it is, without a carriage return at the end or slashes at the beginning. Blank lines are ignored.
    Raises ConfigError at once for a missing file; the pages raise it for text that is not UTF-8 or cannot be read.
    """
    opened = _open(option, file)

    def keys() -> Iterator[str]:
        with opened:
            for number, line in enumerate(_read(option, file, opened), 1):
                if key := _decode(option, file, number, line).lstrip("/"):
                    yield key

    async def pages() -> AsyncIterator[list[str]]:
        left = keys()
        try:
            while page := await asyncio.to_thread(lambda: list(islice(left, PAGE))):
                yield page
        finally:
            if isinstance(opened.raw, EndableInput):
                opened.raw.end()

    return pages


def _open(option: str, file: str) -> BufferedReader:
    if file == STDIN:
        return BufferedReader(EndableInput())
    try:
        return open(file, "rb")
    except OSError as error:
        hint = "correct the name of the file, or use - for standard input"
        raise ConfigError(f"{option}: {error.strerror}", where=file, hint=hint) from error


def _read(option: str, file: str, opened: BufferedReader) -> Iterator[bytes]:
    try:
        yield from _split(opened)
    except OSError as error:
        hint = "name a file that can be read, or connect standard input"
        raise ConfigError(f"{option}: {error.strerror}", where=file, hint=hint) from error


def _split(file: BufferedReader) -> Iterator[bytes]:
    """Yield the lines, or the texts between NULs if the first piece of the file has any."""
    rest, separator = b"", b""
    while piece := file.read1(PIECE):
        if not separator:
            separator = b"\0" if b"\0" in piece else b"\n"
            piece = piece.removeprefix(_MARK)
        *lines, rest = (rest + piece).split(separator)
        yield from (line.removesuffix(b"\r") if separator == b"\n" else line for line in lines)
    if rest:
        yield rest.removesuffix(b"\r") if separator == b"\n" else rest


def _decode(option: str, file: str, number: int, line: bytes) -> str:
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{option}: line {number} is not UTF-8", where=file, hint="convert the file") from error
    if "\0" in text:
        raise ConfigError(f"{option}: line {number} has a NUL character", where=file, hint="separate all keys by NUL")
    return text
