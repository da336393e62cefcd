"""Notifications of services beside the three clouds, with bodies as their documentation shows them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from skyferry.errors import EventError, UnknownFormat
from skyferry.events.detect import parse_message
from skyferry.events.fields import Delivery
from skyferry.model import Change, ObjectEvent, ObjectRef, Position, Provider

Json = Callable[[str], Any]
One = Callable[[object], ObjectEvent]


def encode(body: object) -> bytes:
    return json.dumps(body).encode()


def test_r2_says_account_size_and_time(sample: Json, one: One) -> None:
    event = one(sample("r2-copy"))
    assert event.source == ObjectRef(Provider.S3_COMPATIBLE, "my-bucket", "my-new-object")
    assert event.source.endpoint == "https://3f4b7e3dcab231cbfdaa90a6a28bd548.r2.cloudflarestorage.com"
    assert (event.change, event.size, event.occurred_at) == (Change.CREATED, 65536, 1716579404.379)


@pytest.mark.parametrize(
    ("action", "change", "expired"),
    [
        ("PutObject", Change.CREATED, False),
        ("CompleteMultipartUpload", Change.CREATED, False),
        ("DeleteObject", Change.DELETED, False),
        ("LifecycleDeletion", Change.DELETED, True),
    ],
)
def test_each_action_of_r2(sample: Json, one: One, action: str, change: Change, expired: bool) -> None:
    event = one(sample("r2-copy") | {"action": action})
    assert (event.change, event.expired) == (change, expired)


def test_an_unknown_action_of_r2_is_refused(sample: Json, one: One) -> None:
    with pytest.raises(UnknownFormat, match="Renamed"):
        one(sample("r2-copy") | {"action": "Renamed"})


def test_b2_says_version_size_and_time_in_milliseconds(sample: Json, one: One) -> None:
    event = one(sample("b2-upload"))
    version = "4_zaea8c5bc362ae55070130333_f117c7bd5d6c6597c_d20230521_m235957_c001_v0001044_t0052_u01684713597235"
    assert event.source == ObjectRef(Provider.S3_COMPATIBLE, "mySampleBucket", "objectName.txt", version=version)
    assert (event.change, event.size, event.occurred_at) == (Change.CREATED, 10495842, 1684793309.123)


def test_deletes_of_b2_name_no_version(sample: Json) -> None:
    """The version that the event names is the marker, or one that is gone."""
    hidden, deleted = parse_message(encode(sample("b2-several")), {}).events
    assert (hidden.source.version, hidden.expired, hidden.size) == ("", True, None)
    assert (deleted.source.version, deleted.expired) == ("", False)


@pytest.mark.parametrize("at", [None, "soon", 10**18, -1])
def test_b2_events_need_a_time(sample: Json, one: One, at: object) -> None:
    body = sample("b2-upload")
    body["events"][0]["eventTimestamp"] = at
    with pytest.raises(EventError) as caught:
        one(body)
    assert caught.value.where == "events[0].eventTimestamp"


def test_one_bad_event_of_a_webhook_does_not_stop_the_others(sample: Json) -> None:
    """The bad one becomes a message with the same envelope."""
    body = sample("tigris")
    body["events"][0]["eventName"] = "OBJECT_PONDERED"
    parsed = parse_message(encode(body), {})
    assert [event.source.key for event in parsed.events] == ["path/to/anotherfile.jpg"]
    assert json.loads(parsed.faulty[0].piece.body()) == {"events": body["events"][:1]}


def test_tigris_says_size_and_time(sample: Json) -> None:
    created, deleted = parse_message(encode(sample("tigris")), {}).events
    assert created.source == ObjectRef(Provider.S3_COMPATIBLE, "my-bucket", "path/to/myfile.txt")
    assert (created.change, created.size, created.occurred_at) == (Change.CREATED, 1024, 1684146600.0)
    assert (deleted.change, deleted.size) == (Change.DELETED, None)


@pytest.mark.parametrize(
    ("kind", "change", "position"),
    [
        ("finalized", Change.CREATED, "00000000000000000001"),
        ("metadataUpdated", Change.CREATED, "00000000000000000001"),
        ("deleted", Change.DELETED, "9" * 20),
        ("archived", Change.DELETED, "9" * 20),
    ],
)
def test_eventarc_in_both_modes(sample: Json, one: One, kind: str, change: Change, position: str) -> None:
    """Structured, with everything in the body, or binary, with attributes (Pub/Sub) or headers beside it."""
    body = sample("eventarc-finalized") | {"type": f"google.cloud.storage.object.v1.{kind}"}
    event = one(body)
    assert event.source == ObjectRef(
        Provider.GCP_GCS, "sample-bucket", "folder/a+b %41.txt", version="1587627537231057"
    )
    assert (event.change, event.size, event.occurred_at) == (change, 352, 1577968496.789)
    assert event.position == Position("gcs-generation", f"00001587627537231057.{position}")
    headers = {f"ce-{name}": body[name] for name in ("specversion", "id", "source", "type", "time")}
    assert parse_message(encode(body["data"]), headers).events == (event,)


def test_an_unknown_event_of_eventarc_is_refused(sample: Json, one: One) -> None:
    with pytest.raises(UnknownFormat, match=r"v1\.moved"):
        one(sample("eventarc-finalized") | {"type": "google.cloud.storage.object.v1.moved"})


def test_a_notification_without_a_time_has_that_of_its_message(sample: Json, one: One) -> None:
    """Two of one content are different events if they came in different messages; a redelivered one is the same event."""
    envelope = sample("wasabi-put-in-sns")
    event = one(envelope)
    assert event.source == ObjectRef(Provider.S3_COMPATIBLE, "mybucket", "red flower.jpg", "us-east-1")
    assert (event.occurred_at, event.position) == (1618323972.943, None)
    assert one(envelope | {"Subject": "again"}).event_id == event.event_id
    assert one(envelope | {"MessageId": "another"}).event_id != event.event_id
    raw = envelope["Message"].encode()
    (direct,) = parse_message(raw, {}, Delivery("m-1", 5.0)).events
    assert (direct.occurred_at, direct.event_id) == (
        5.0,
        parse_message(raw, {}, Delivery("m-1", 9.0)).events[0].event_id,
    )
    assert direct.event_id != parse_message(raw, {}, Delivery("m-2", 5.0)).events[0].event_id
    with pytest.raises(EventError, match="eventTime"):
        parse_message(raw, {})


def test_a_numeric_sequencer_is_no_position_but_distinguishes_events(sample: Json, one: One) -> None:
    """Its 16 digits would pass for MinIO's clock."""
    body = sample("noobaa-put")
    first = one(body)
    body["Records"][0]["s3"]["object"]["sequencer"] = 1722590383991123
    second = one(body)
    assert (first.position, second.position) == (None, None)
    assert first.event_id != second.event_id


@pytest.mark.parametrize(
    "name",
    [
        "Object Restore Initiated",
        "Object Storage Class Changed",
        "Object Access Tier Changed",
        "Object ACL Updated",
        "Object Retention Updated",
        "Object Legal Hold Updated",
        "Object Annotation Deleted",
    ],
)
def test_what_eventbridge_says_beside_changes_of_content_is_ignored(sample: Json, name: str) -> None:
    assert parse_message(encode(sample("eventbridge-created") | {"detail-type": name}), {}).ignored == (name,)


@pytest.mark.parametrize("name", ["Object Tags Added", "Object Tags Deleted"])
def test_changed_tags_start_a_look(sample: Json, one: One, name: str) -> None:
    """Its transfer is not that of the write, whose version id and sequencer such an event may repeat."""
    event = one(sample("eventbridge-created") | {"detail-type": name})
    assert (event.change, event.source.version, event.position) == (Change.CREATED, "", None)


@pytest.mark.parametrize("name", ["Object Replaced", "Object", "Bucket Deleted", "Object Tags"])
def test_an_unknown_event_of_eventbridge_is_refused(sample: Json, one: One, name: str) -> None:
    """It may be a change of content."""
    with pytest.raises(UnknownFormat):
        one(sample("eventbridge-created") | {"detail-type": name})


@pytest.mark.parametrize("version", ["3.0", "10.1", "x"])
def test_a_later_version_is_refused(sample: Json, one: One, version: str) -> None:
    body = sample("noobaa-put")
    body["Records"][0]["eventVersion"] = version
    with pytest.raises(UnknownFormat, match="not supported"):
        one(body)
