"""The native event, version 1."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyferry.errors import EventError, InvalidKey, UnknownFormat
from skyferry.events import native
from skyferry.events.detect import parse_message
from skyferry.model import Change, Checksums, ObjectEvent, ObjectRef, Position, Priority, Provider

Json = Callable[[str], Any]
One = Callable[[object], ObjectEvent]
SHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_every_field_arrives(sample: Json, one: One) -> None:
    assert one(sample("native-full")) == ObjectEvent(
        event_id="3f1c8a52-7b1d-4a37-9d52-0c1f6d6b8a11",
        change=Change.CREATED,
        source=ObjectRef(Provider.AWS_S3, "photos", "2026/ü.jpg", "eu-central-1", "v7"),
        occurred_at=1769860800.5,
        correlation_id="a81bc81b-dead-4e5d-abff-90865d1e13b1",
        destination=ObjectRef(Provider.GCP_GCS, "photos-copy", "2026/u.jpg"),
        checksums=Checksums(sha256=SHA256),
        content_type="image/jpeg",
        max_retries=5,
        priority=Priority.HIGH,
        traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    )


def test_the_documented_examples_are_read() -> None:
    text = (Path(__file__).parents[2] / "docs" / "reference" / "events.md").read_text()
    first, second = (
        parse_message(block.encode(), {}).events[0] for block in re.findall(r"```json\n(.*?)```", text, re.DOTALL)
    )
    assert (first.priority, second.change) == (Priority.HIGH, Change.DELETED)


def test_every_field_is_documented() -> None:
    """Look in the table of fields and in the lines about an object."""
    text = (Path(__file__).parents[2] / "docs" / "reference" / "events.md").read_text()
    schema: Any = native.json_schema()
    objects = [schema["$defs"]["NativeObject"], schema["$defs"]["NativeMetadata"], schema]
    for name in (name for part in objects for name in part["properties"]):
        assert f"`{name}`" in text or f"`metadata.{name}`" in text or name == "metadata"


def test_what_is_left_out_is_left_to_routes_and_configuration(sample: Json, one: One) -> None:
    event = one(sample("native-minimal"))
    assert (event.destination, event.priority, event.max_retries, event.position) == (None, None, None, None)


@pytest.mark.parametrize("version", ["1.0.0", "1.0", "1.7", "1.99.3"])
def test_any_1_x_is_read(sample: Json, one: One, version: str) -> None:
    assert one(sample("native-minimal") | {"schemaVersion": version, "new": {"deep": [1]}}).source.key == "x"


@pytest.mark.parametrize("version", ["2.0.0", "2", "0.9.0", "10.0.0", "1", "1.", "one", "", 1.0, None])
def test_no_other_version_is_read(sample: Json, one: One, version: object) -> None:
    with pytest.raises(EventError):
        one(sample("native-minimal") | {"schemaVersion": version})


def test_a_refused_version_says_what_would_help(sample: Json, one: One) -> None:
    with pytest.raises(UnknownFormat, match=r"schemaVersion: .* \(send version 1\.x, or upgrade Skyferry\)"):
        one(sample("native-full") | {"schemaVersion": "2.0.0"})


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-01T00:00:00Z", 0.0),
        ("1970-01-01t00:00:00.25z", 0.25),
        ("1970-01-01T02:00:00+02:00", 0.0),
        ("1969-12-31T23:59:59-00:00", -1.0),
        ("2016-12-31T23:59:60Z", 1483228800.0),
        ("2026-01-31T12:00:00.123456789Z", 1769860800.123456),
    ],
)
def test_rfc_3339_is_read(sample: Json, one: One, text: str, seconds: float) -> None:
    assert one(sample("native-minimal") | {"timestamp": text}).occurred_at == seconds


@pytest.mark.parametrize(
    "text", ["2026-01-31", "2026-01-31T12:00Z", "2026-W05-6T12:00:00Z", "1769860800", "0000-01-01T00:00:00Z"]
)
def test_what_is_not_rfc_3339_is_refused(sample: Json, one: One, text: str) -> None:
    with pytest.raises(EventError) as caught:
        one(sample("native-minimal") | {"timestamp": text})
    assert caught.value.where == "timestamp"


@pytest.mark.parametrize(
    "text",
    ["0001-01-01T00:00:00+14:00", "0001-12-31T23:59:59Z", "9999-12-31T23:59:60Z", "9999-12-31T23:59:59-14:00"],
)
def test_a_time_at_an_end_of_the_calendar_is_refused(sample: Json, one: One, text: str) -> None:
    """It has no date in some time zones, so a listing with it could not be shown."""
    with pytest.raises(EventError) as caught:
        one(sample("native-minimal") | {"timestamp": text})
    assert caught.value.where == "timestamp"


def test_a_checksum_may_be_base64_as_s3_writes_it(sample: Json, one: One) -> None:
    body = sample("native-full")
    body["metadata"]["checksumSHA256"] = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
    assert one(body).checksums.sha256 == SHA256


@pytest.mark.parametrize(
    "trace", ["", "nonsense", "00-" + "0" * 32 + "-b7ad6b7169203331-01", "ff-" + "1" * 32 + "-" + "1" * 16 + "-01"]
)
def test_a_malformed_traceparent_does_not_stop_an_object(sample: Json, one: One, trace: str) -> None:
    body = sample("native-full")
    body["metadata"]["traceparent"] = trace
    assert one(body).traceparent == ""


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("time:5", Position.at(5)),
        ("s3-sequencer:0065f1", Position("s3-sequencer", "65F1".rjust(32, "0"))),
        ("gcs-generation:12.3", Position("gcs-generation", f"{12:020d}.{3:020d}")),
        ("azure-sequencer:0442", Position("azure-sequencer", "0442")),
    ],
)
def test_a_position_is_normalised(sample: Json, one: One, text: str, position: Position) -> None:
    provider = {"s3": "aws_s3", "gcs": "gcp_gcs", "azure": "azure_blob"}.get(text.partition("-")[0], "file")
    source = sample("native-minimal")["source"] | {"provider": provider}
    assert one(sample("native-minimal") | {"position": text, "source": source}).position == position


@pytest.mark.parametrize("provider", ["aws_s3", "s3_compatible", "gcp_gcs", "azure_blob", "memory"])
def test_a_position_of_another_kind_than_its_providers_is_refused(sample: Json, one: One, provider: str) -> None:
    kinds = {"s3-sequencer:FF", "gcs-generation:9.1", "azure-sequencer:~"}
    refused = 0
    for text in kinds:
        source = sample("native-minimal")["source"] | {"provider": provider}
        try:
            one(sample("native-minimal") | {"position": text, "source": source})
        except EventError as error:
            refused += error.where == "position"
    assert refused == 2


@pytest.mark.parametrize("text", ["s3-sequencer:FF", "gcs-generation:9.1", "azure-sequencer:~"])
def test_a_folder_numbers_nothing(sample: Json, one: One, text: str) -> None:
    source = sample("native-minimal")["source"] | {"provider": "file"}
    assert one(sample("native-minimal") | {"position": text, "source": source}).position is None


@pytest.mark.parametrize("key", ["a", "ü" * 512, "x" * 1024, "../up", "/abs", "a//b/", " ", "\U0001f600", "a\nb"])
def test_any_key_of_1_to_1024_bytes_is_taken(sample: Json, one: One, key: str) -> None:
    body = sample("native-minimal")
    body["source"]["key"] = key
    assert one(body).source.key == key


@pytest.mark.parametrize("key", ["", "x" * 1025, "ü" * 513, "a\0", 7])
def test_no_other_key_is(sample: Json, one: One, key: object) -> None:
    body = sample("native-minimal")
    body["source"]["key"] = key
    with pytest.raises(InvalidKey) as caught:
        one(body)
    assert caught.value.where == "source.key"


keys = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=256)
words = st.text(st.characters(codec="utf-8"), max_size=40)
refs = st.builds(
    ObjectRef,
    provider=st.sampled_from(Provider),
    bucket=st.from_regex(r"[a-z0-9.-]{1,63}", fullmatch=True),
    key=keys,
    region=words,
    version=words,
)
positions = st.one_of(
    st.integers(0, 2**63).map(Position.at),
    st.builds(lambda g, m: Position("gcs-generation", f"{g:020d}.{m:020d}"), *[st.integers(0, 10**20 - 1)] * 2),
    st.from_regex(r"[0-9A-F]{32}", fullmatch=True).map(lambda v: Position("s3-sequencer", v)),
    st.from_regex(r"[0-9]{32}", fullmatch=True).map(lambda v: Position("azure-sequencer", v)),
)
events = st.builds(
    ObjectEvent,
    event_id=st.uuids().map(str),
    change=st.sampled_from(Change),
    source=refs,
    occurred_at=st.integers(0, 4 * 10**15).map(lambda us: us / 10**6),
    correlation_id=st.uuids().map(str),
    position=st.none() | positions,
    destination=st.none() | refs,
    size=st.none() | st.integers(0, 2**63 - 1),
    checksums=st.builds(Checksums, sha256=st.just("") | st.from_regex(r"[0-9a-f]{64}", fullmatch=True)),
    content_type=words,
    max_retries=st.none() | st.integers(0, 10),
    priority=st.none() | st.sampled_from(Priority),
    traceparent=st.sampled_from(["", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"]),
)


KINDS = {"aws_s3": "s3", "s3_compatible": "s3", "gcp_gcs": "gcs", "memory": "gcs", "azure_blob": "azure"}


def possible(event: ObjectEvent) -> bool:
    """Return True if the position's scheme is one of the provider's."""
    kind = event.position.scheme.partition("-")[0] if event.position else "time"
    return kind in ("time", KINDS.get(event.source.provider))


@given(events.filter(possible))
def test_what_is_encoded_is_read_back_the_same(event: ObjectEvent) -> None:
    assert parse_message(native.encode_event(event), {}).events == (event,)


def test_an_event_of_another_format_is_not_encoded(sample: Json, one: One) -> None:
    """A native event cannot express a delete that is part of an overwrite."""
    with pytest.raises(EventError):
        native.encode_event(one(sample("gcs-delete-overwritten")))
