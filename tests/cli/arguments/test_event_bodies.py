"""Events are read one after the other, in every form that is documented, and never all at once."""

from __future__ import annotations

import io
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import closing

import orjson
import pytest

from skyferry.cli.arguments import event_bodies as bodies
from skyferry.cli.arguments.event_bodies import MAX_LENGTH, Spool, read_bodies
from skyferry.errors import EventError

A, B = b'{"a": "\xc3\xa9 ]}"}', b'{"b": [1, {"c": "\\ud800"}]}'
READ = {
    "nothing": (b"", []),
    "blank": (b" \n\n", []),
    "one": (A, [("", A)]),
    "one on lines": (b'{\n "a":\n 1}\n', [("", b'{\n "a":\n 1}')]),
    "lines": (A + b"\n\n" + B + b"\n", [("line 1", A), ("line 3", B)]),
    "array": (b"[" + A + b", " + B + b"]\n", [("event 1", A), ("event 2", B)]),
    "array on lines": (b"\n [\n" + A + b"\n,\n" + B + b"\n]\n", [("event 1", A), ("event 2", B)]),
    "empty array": (b"[ ]", []),
    "empty array on lines": (b"[\n]", []),
    "arrays on lines": (b"[1]\n[2]", [("line 1", b"[1]"), ("line 2", b"[2]")]),
    "base64": (b"e30=\ne30=\n", [("line 1", b"e30="), ("line 2", b"e30=")]),
    "a bad line": (A + b"\n{", [("line 1", A), ("line 2", b"{")]),
}


@pytest.mark.parametrize(("text", "found"), READ.values(), ids=READ)
def test_every_form_is_read(text: bytes, found: list[tuple[str, bytes]]) -> None:
    """And each event is as it was written."""
    assert [(where, body.strip()) for where, body in read_bodies(io.BytesIO(text))] == found


REFUSED = {
    "an array that does not end": (b"[\n1, 2", "after event 2"),
    "an array without a comma": (b"[\n1 2]", "after event 1"),
    "an array of nothing": (b"[\n1,]", "event 2"),
    "more behind an array": (b"[\n1]\n{}", "after event 1"),
    "no UTF-8": (b"[\n1, \xff]", "after event 0"),
    "nested without end": (b"[" * 100_000, "event 1"),
    "an object that does not end": (b'{"a":\n1', "line 1"),
    "a line without end": (b'{"a": "' + b"x" * MAX_LENGTH + b'"}\n', "line 1"),
}


@pytest.mark.parametrize(("text", "where"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_json_is_refused_with_its_place(text: bytes, where: str) -> None:
    with pytest.raises(EventError) as caught:
        list(read_bodies(io.BytesIO(text)))
    assert caught.value.where == where


class Endless(io.RawIOBase):
    """Pieces, one after the other, never together."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces, self._rest = pieces, b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # any writable buffer
        self._rest = self._rest or next(self._pieces, b"")
        count = min(len(buffer), len(self._rest))
        buffer[:count], self._rest = self._rest[:count], self._rest[count:]
        return count


def array(count: int) -> Iterator[bytes]:
    """One array in one line."""
    yield b"["
    for number in range(count):
        yield orjson.dumps({"n": number, "text": "x" * 1000}) + (b"," if number < count - 1 else b"]")


def lines(count: int) -> Iterator[bytes]:
    """One object a line."""
    for number in range(count):
        yield orjson.dumps({"n": number, "text": "x" * 1000}) + b"\n"


@pytest.mark.parametrize("form", [array, lines])
def test_memory_does_not_grow_with_the_number_of_events(
    form: Callable[[int], Iterator[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """2 MB of events take less than 1 MB, spooled and read back."""
    monkeypatch.setattr(bodies, "MAX_LENGTH", 2**16)
    monkeypatch.setattr(bodies, "IN_MEMORY", 2**16)
    count = 2000
    tracemalloc.start()
    try:
        with closing(Spool()) as spool:
            for _, body in read_bodies(io.BufferedReader(Endless(form(count)))):
                spool.add(body)
            read = sum(len(batch) for batch in spool.batches(1000, 2**16))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (spool.count, read) == (count, count)
    assert peak < 1e6
