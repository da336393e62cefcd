"""The parser returns events or raises EventError for any input: no other exception, no half a message."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skyferry.errors import Disposition, EventError
from skyferry.events.detect import parse_message
from skyferry.events.fields import MAX_BODY, Parsed

VALID = [p.read_bytes() for p in sorted((Path(__file__).parent / "corpus" / "valid").iterdir())]
PULLED: Mapping[str, str] = json.loads((Path(__file__).parent / "corpus" / "valid" / "gcs-finalize.json").read_bytes())[
    "message"
]["attributes"]
ANY_TEXT = st.text(st.characters())  # surrogates too
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


def survives(body: bytes, attributes: Mapping[str, str]) -> Parsed | None:
    """Parse it, or check that it is refused as promised."""
    refused: EventError | None = None
    try:
        parsed = parse_message(body, attributes)
    except EventError as error:
        refused = error
    if refused is not None:
        assert refused.message
        assert refused.disposition is Disposition.PERMANENT
        str(refused).encode()  # can be logged and kept
        return None
    assert parsed.events or parsed.test or parsed.ignored, "a message that says nothing would vanish"
    for event in parsed.events:
        assert 1 <= len(event.source.key.encode()) <= 1024
        assert "\0" not in event.source.key
        assert event.event_id
    return parsed


@given(st.binary(max_size=200), st.dictionaries(ANY_TEXT, ANY_TEXT, max_size=3))
def test_random_bytes(body: bytes, attributes: dict[str, str]) -> None:
    assert survives(body, attributes) is None


@given(JSON)
def test_arbitrary_json(value: Any) -> None:
    survives(json.dumps(value).encode(), {})


@settings(deadline=None)
@given(
    st.dictionaries(st.sampled_from(sorted(PULLED)), ANY_TEXT),
    st.binary(max_size=30) | JSON.map(lambda v: json.dumps(v).encode()),
)
def test_arbitrary_cloud_storage_attributes(changed: dict[str, str], body: bytes) -> None:
    survives(body, {**PULLED, **changed})


@settings(max_examples=600, deadline=None)
@given(st.data())
def test_valid_bodies_with_bytes_changed(data: st.DataObject) -> None:
    body = bytearray(data.draw(st.sampled_from(VALID)))
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(body)))
        body[start : start + data.draw(st.integers(0, 8))] = data.draw(st.binary(max_size=8))
    survives(bytes(body), {})


def places(value: Any) -> list[tuple[Any, Any]]:
    """Yield every container in a JSON value with each of its keys or indices."""
    if not isinstance(value, dict | list):
        return []
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    return [place for key, child in inner for place in ((value, key), *places(child))]


@settings(max_examples=1000, deadline=None)
@given(st.data())
def test_valid_bodies_with_values_changed(data: st.DataObject) -> None:
    body = json.loads(data.draw(st.sampled_from([b for b in VALID if b[:1] in b"{["])))
    container, key = data.draw(st.sampled_from(places(body)))
    container[key] = data.draw(
        JSON | st.sampled_from(["\0", "", "null", -1, 2**70, 1e400, "9" * 5000, "x" * 2000, "%ff", "=A"])
    )
    survives(json.dumps(body).encode(), {})


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_valid_bodies_with_fields_taken_away(data: st.DataObject) -> None:
    body = json.loads(data.draw(st.sampled_from([b for b in VALID if b[:1] in b"{["])))
    container, key = data.draw(st.sampled_from(places(body)))
    del container[key]
    survives(json.dumps(body).encode(), {})


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'{"Records":[', b'{"schemaVersion":[', b'{"message":{"message":'])
def test_deep_nesting_is_refused_and_not_followed(opening: bytes) -> None:
    assert survives((opening * 100_000)[:MAX_BODY], {}) is None


@pytest.mark.parametrize("number", [b"9" * 100_000, b"-" + b"9" * 5_000, b"1e999999", b"NaN", b"-Infinity", b"0" * 50])
@pytest.mark.parametrize("field", [b"size", b"timestamp", b"unknown"])
def test_huge_numbers(number: bytes, field: bytes) -> None:
    body = json.dumps(json.loads(VALID[0])).encode()
    native = next(b for b in VALID if b"maxRetries" in b).rstrip()[:-1]
    survives(native + b',"' + field + b'":' + number + b"}", {})
    survives(body[:-2] + b',"' + field + b'":' + number + b"}]", {})


def test_the_largest_body_is_read_and_a_larger_one_refused() -> None:
    native = next(b for b in VALID if b"maxRetries" in b)
    assert survives(native.ljust(MAX_BODY), {}) is not None
    with pytest.raises(EventError, match="1,048,577 bytes"):
        parse_message(native.ljust(MAX_BODY + 1), {})


def test_envelopes_cannot_be_nested_without_end() -> None:
    body = next(b for b in VALID if b"maxRetries" in b)
    for _ in range(3):
        assert survives(body, {}) is not None
        body = json.dumps({"Type": "Notification", "Message": body.decode()}).encode()
    for _ in range(9):
        body = json.dumps({"message": {"messageId": "1", "data": base64.b64encode(body).decode()}}).encode()
    assert survives(body, {}) is None


def test_one_bad_record_is_reported_next_to_the_good_ones() -> None:
    """Each part of the message makes a message with the same content."""
    for body in VALID:
        value: Any = json.loads(body) if body[:1] in b"{[" else None
        records: list[Any] = (value if isinstance(value, list) else (value or {}).get("Records")) or []
        for bad in (None, 7, {}, {"eventVersion": "2.1"}) if records else ():
            mixed = [bad, *records]
            alone = parse_message(body, {})
            said = parse_message(
                json.dumps(mixed if isinstance(value, list) else {**(value or {}), "Records": mixed}).encode(), {}
            )
            assert (said.events, said.ignored) == (alone.events, alone.ignored)
            assert len(said.faulty) == len(alone.faulty) + 1
            assert survives(said.faulty[0].piece.body(), {}) is None
            again = {e.event_id for piece in said.pieces for e in parse_message(piece.body(), {}).events}
            assert again == {e.event_id for e in said.events}


def test_many_bad_records_are_reported_in_a_bounded_number_of_errors() -> None:
    """The last one has all the rest, so nothing is lost."""
    good = json.loads((Path(__file__).parent / "corpus" / "valid" / "s3-put.json").read_bytes())["Records"]
    said = parse_message(json.dumps({"Records": [*good, *range(1000)]}).encode(), {})
    assert len(said.faulty) == 100
    assert [record for fault in said.faulty for record in fault.piece.records] == list(range(1000))
    assert survives(json.dumps({"Records": [*good, *([0] * 10_000)]}).encode(), {}) is None


def test_a_long_event_and_a_long_list_are_refused_before_they_are_looked_through() -> None:
    """Validating unknown fields takes a hundred times their length."""
    native = next(b for b in VALID if b"maxRetries" in b).rstrip()[:-1]
    assert survives(native + b',"unknown":"' + b"x" * 60_000 + b'"}', {}) is not None
    with pytest.raises(EventError, match="the event has"):
        parse_message(native + b',"unknown":"' + b"x" * 66_000 + b'"}', {})
    for body in (b'{"Records":[%s]}', b"[%s]"):
        with pytest.raises(EventError, match="has 10,001 items"):
            parse_message(body % b",".join([b"{}"] * 10_001), {})
