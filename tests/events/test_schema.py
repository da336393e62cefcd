"""The published JSON Schema and the parser accept the same events."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, FormatChecker

from skyferry.errors import EventError
from skyferry.events import native

FULL = json.loads((Path(__file__).parent / "corpus" / "valid" / "native-full.json").read_bytes())
FULL |= {"eventType": "deleted", "position": "time:12", "size": 3}
SCHEMA: Any = json.loads(json.dumps(native.json_schema()))
# `$` matches the end of the text in JSON Schema; in Python also before a last newline.
STRICT: Any = json.loads(json.dumps(SCHEMA).replace('$"', r'\\Z"'))


def _formats() -> FormatChecker:
    checker = FormatChecker(formats=())

    @checker.checks("object-key")
    def object_key(value: object) -> bool:
        return not isinstance(value, str) or 1 <= len(value.encode("utf-8", "surrogatepass")) <= 1024

    @checker.checks("date-time", raises=ValueError)
    def date_time(value: object) -> bool:
        if not isinstance(value, str):
            return True
        found = datetime.fromisoformat(value.upper().replace(":60", ":59"))
        return bool(found.tzinfo) and datetime(2, 1, 1, tzinfo=UTC) <= found < datetime(9999, 1, 1, tzinfo=UTC)

    return checker


VALIDATOR = Draft202012Validator(STRICT, format_checker=_formats())


def accepted(body: bytes) -> bool:
    try:
        native.parse_event(body)
    except EventError:
        return False
    return True


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(SCHEMA)


def test_the_schema_describes_every_field() -> None:
    """A property has a description or refers to one."""
    for name, field in SCHEMA["properties"].items():
        assert "description" in field or "$ref" in json.dumps(field), name


PATHS = [
    (name, *rest)
    for name, value in FULL.items()
    for rest in [(), *((inner,) for inner in (value if isinstance(value, dict) else ()))]
]
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-1, 12),
    st.sampled_from([3.0, 3.5, -0.0, 2**63 - 1, 2**63, 2.0**63, 1e300, 10**30]),
    st.text(max_size=3),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
    st.sampled_from(["created", "deleted", "high", "HIGH", "file", "aws_s3", "ftp", "3", "x" * 1024, "x" * 1025]),
    st.sampled_from(["ü" * 512, "ü" * 513, "a\0b", "a/b", "x" * 255, "x" * 256, "\x7f", "b\n", "\U0001f600"]),
    st.sampled_from(["1.0.0", "1.5", "1.5\n", "2.0.0", "1", "1.0.0.0", "1.0000000000", "1.٣"]),
    st.sampled_from(["2024-02-29T00:00:00Z", "2023-02-29T00:00:00Z", "2023-01-01T23:59:60.5z", "2023-01-01 00:00:00Z"]),
    st.sampled_from(
        ["2023-01-01T00:00:00+23:59", "2023-01-01T00:00:00+24:00", "2023-01-01T00:00:00Z\n", "0000-01-01T00:00:00Z"]
    ),
    st.sampled_from(["0001-01-01T00:00:00+10:00", "9999-12-31T23:59:60-10:00", "2023-01-01T00:00:00.1234567890Z"]),
    st.sampled_from(
        ["time:", "time:1", "time:1\n", "time:" + "1" * 21, "s3-sequencer:xyz", "gcs-generation:1", "azure-sequencer:ü"]
    ),
    st.sampled_from(
        ["a" * 64, "A" * 63, "a" * 65, "/" * 43 + "=", "/" * 43 + "=\n", "3f1c8a52-7b1d-4a37-9d52-0c1f6d6b8a1\n"]
    ),
    st.sampled_from(
        [
            "3F1C8A52-7b1d-4a37-9d52-0c1f6d6b8a11",
            "3f1c8a527b1d4a379d520c1f6d6b8a11",
            "{3f1c8a52-7b1d-4a37-9d52-0c1f6d6b8a11}",
        ]
    ),
    st.builds(lambda: dict(FULL["source"])),
)
GONE = object()


@st.composite
def variations(draw: st.DrawFn) -> Any:
    """A valid event with one to three fields replaced, removed or added."""
    body = json.loads(json.dumps(FULL))
    for _ in range(draw(st.integers(1, 3))):
        *outer, name = draw(st.sampled_from([*PATHS, ("unknown",), ("source", "unknown")]))
        place = body
        for step in outer:
            place = place.get(step) if isinstance(place, dict) else None
        value = draw(VALUES | st.just(GONE))
        if isinstance(place, dict):
            place.pop(name, None) if value is GONE else place.update({name: value})
    return body


@settings(max_examples=1500, deadline=None)
@given(variations())
@example(FULL)
def test_schema_and_parser_agree(body: Any) -> None:
    assert VALIDATOR.is_valid(body) == accepted(json.dumps(body).encode()), [
        e.message for e in VALIDATOR.iter_errors(body)
    ]


@settings(max_examples=200, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        lambda s: st.lists(s) | st.dictionaries(st.text(), s),
    )
)
def test_they_agree_on_what_is_no_event_at_all(body: Any) -> None:
    assert VALIDATOR.is_valid(body) == accepted(json.dumps(body).encode())
