"""Logs: one line per record, whatever its values, without secrets."""

from __future__ import annotations

import io
import json
import logging
import re
import warnings
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyferry.observe import Fanout, LogObserver, capture_stdlib
from skyferry.observe.logs import LEVELS, Format, Level
from skyferry.records import EVENTS, Record

DONE = Record(
    "transfer.done", correlation_id="c-1", transfer_id="t-1", route="photos", key="a/b.jpg", bytes=0, duration=0.25
)


class Terminal(io.BytesIO):
    def isatty(self) -> bool:
        return True


def written(
    *records: Record, format: Format = "json", level: Level = "debug", stream: io.BytesIO | None = None
) -> bytes:
    stream = stream or io.BytesIO()
    observer = LogObserver(stream, format, level, clock=lambda: 1795418175.5)
    for record in records:
        observer.on(record)
    return stream.getvalue()


def test_a_json_line_carries_the_record_under_its_own_names_and_nothing_empty() -> None:
    assert json.loads(written(DONE)) == {
        "time": "2026-11-23T07:16:15.500000Z",
        "level": "info",
        "event": "transfer.done",
        "correlation_id": "c-1",
        "transfer_id": "t-1",
        "route": "photos",
        "key": "a/b.jpg",
        "bytes": 0,
        "duration": 0.25,
    }


@pytest.mark.parametrize(
    ("level", "expected"),
    [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)],
)
def test_records_below_the_level_are_not_written(level: Level, expected: int) -> None:
    records = [Record("transfer.claimed"), Record("transfer.done"), Record("transfer.retry"), Record("transfer.dead")]
    assert written(*records, level=level).count(b"\n") == expected


def test_every_level_belongs_to_an_event() -> None:
    assert set(LEVELS) <= set(EVENTS)


TEXTS = st.text(alphabet=st.characters(), max_size=40)  # lone surrogates too
NUMBERS = st.none() | st.integers() | st.floats()
STRINGS = [f.name for f in fields(Record) if f.type == "str"]


@given(st.fixed_dictionaries(dict.fromkeys(STRINGS, TEXTS)), NUMBERS, st.sampled_from(["json", "text"]))
def test_no_content_breaks_a_line_or_reaches_the_terminal_as_a_command(
    values: dict[str, Any], number: Any, format: Format
) -> None:
    line = written(replace(Record("transfer.dead", **values), bytes=number), format=format).decode()
    assert line.endswith("\n")
    assert not re.search("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]", line[:-1])
    if format == "json":
        assert json.loads(line)["key" if values["key"] else "event"] is not None


def test_a_key_cannot_forge_a_second_record() -> None:
    forged = 'x\n{"event":"transfer.done"}\r\n\u2028{"event":"transfer.done"}'
    lines = written(Record("transfer.dead", key=forged)).decode().splitlines()
    assert len(lines) == 1
    assert json.loads(lines[0])["key"] == forged


@pytest.mark.parametrize(
    "message",
    [
        "GET https://user:hunter2@store.example/a failed",
        "GET https://store.example/a?x=1&sig=hunter2 failed",
        "GET https://store.example/a?X-Amz-Signature=hunter2&X-Amz-Date=1 failed",
        "refused: Authorization: Bearer hunter2",
        'refused: {"authorization": "Basic hunter2"}',
        "DefaultEndpointsProtocol=https;AccountKey=hunter2;EndpointSuffix=x",
        "token: hunter2",
        "postgres: cannot connect: host=db password=hunter2",
    ],
)
@pytest.mark.parametrize("format", ["json", "text"])
def test_credentials_in_messages_are_not_written(message: str, format: Format) -> None:
    line = written(Record("transfer.dead", message=message, hint=message), format=format)
    assert b"hunter2" not in line
    assert b"***" in line


def test_text_puts_the_key_first_and_leaves_ids_to_json_while_all_is_well() -> None:
    line = written(DONE, format="text").decode()
    assert re.fullmatch(
        r"\d\d:\d\d:\d\d\.500 info    transfer\.done      key=a/b\.jpg route=photos bytes=0 duration=0\.250s\n", line
    )
    assert "transfer_id=t-2" in written(Record("transfer.dead", transfer_id="t-2"), format="text").decode()


def test_colours_and_automatic_text_are_for_terminals_only() -> None:
    assert b"\x1b[32m" in written(DONE, format="auto", stream=Terminal())
    assert b"\x1b" not in written(DONE, format="text")
    assert written(DONE, format="auto").startswith(b"{")


def test_a_stream_that_is_gone_loses_lines_and_nothing_else() -> None:
    stream = io.BytesIO()
    observer = LogObserver(stream, "json", "info")
    stream.close()
    observer.on(DONE)
    assert observer.lost == 1


def test_libraries_log_in_the_same_lines_and_everything_is_put_back() -> None:
    stream = io.BytesIO()
    before = logging.getLogger().handlers[:]
    with capture_stdlib(LogObserver(stream, "json", "info")):
        logging.getLogger("uvicorn.error").warning("bad request from %s", "10.0.0.1\nforged")
        logging.getLogger("uvicorn.error").info("chatter")
        try:
            raise ValueError("https://u:hunter2@h/")
        except ValueError:
            logging.getLogger("uvicorn.error").exception("failed")
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [(x["event"], x["level"], x["logger"]) for x in lines] == [
        ("library.log", "warning", "uvicorn.error"),
        ("library.log", "error", "uvicorn.error"),
    ]
    assert lines[0]["message"] == "bad request from 10.0.0.1\nforged"
    assert "Traceback" in lines[1]["traceback"]
    assert b"hunter2" not in stream.getvalue()
    assert logging.getLogger().handlers == before


def test_warnings_of_libraries_are_lines_too() -> None:
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        with capture_stdlib(LogObserver(stream, "json", "info")):
            warnings.warn("old", DeprecationWarning, stacklevel=1)
    assert json.loads(stream.getvalue())["logger"] == "py.warnings"


def test_a_faulty_format_string_of_a_library_is_still_a_line() -> None:
    stream = io.BytesIO()
    with capture_stdlib(LogObserver(stream, "json", "info")):
        logging.getLogger("x").warning("%d", "not a number")
    assert json.loads(stream.getvalue())["message"] == "%d"


def test_a_fanout_passes_records_on_in_order() -> None:
    heard: list[tuple[str, Record]] = []

    class Ear:
        def __init__(self, name: str) -> None:
            self.name = name

        def on(self, record: Record) -> None:
            heard.append((self.name, record))

    Fanout([Ear("a"), Ear("b")]).on(DONE)
    assert heard == [("a", DONE), ("b", DONE)]
