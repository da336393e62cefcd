"""S3's notifications and those of compatible services, with their traps."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import botocore.session  # type: ignore[import-untyped]  # it ships no types
import pytest

from skyferry.errors import EventError
from skyferry.events.detect import parse_message
from skyferry.model import Change, ObjectEvent, ObjectRef, Position, Provider

Json = Callable[[str], Any]
One = Callable[[object], ObjectEvent]


def put(body: Any, **fields: object) -> Any:
    """Return the notification with other fields of its object; None removes one."""
    item = body["Records"][0]["s3"]["object"]
    item.update(fields)
    for name in [n for n, v in fields.items() if v is None]:
        del item[name]
    return body


def test_a_put_says_all_that_s3_said(sample: Json, one: One) -> None:
    event = one(sample("s3-put"))
    assert event.source == ObjectRef(
        Provider.AWS_S3, "mybucket", "red flower.jpg", "us-west-2", "096fKKXTRTtl3on89fVO.nfljtsv6qko"
    )
    assert (event.change, event.size, event.occurred_at) == (Change.CREATED, 1024, 1710339972.943)
    assert event.position == Position("s3-sequencer", "000000000000000065F1B2C3D90281E5")


@pytest.mark.parametrize(
    ("sent", "key"),
    [("a+b", "a b"), ("a%2Bb", "a+b"), ("a%20b", "a b"), ("d%2Fe/f", "d/e/f"), ("%C3%BC", "ü"), ("100%25", "100%")],
)
def test_keys_are_decoded_as_a_form_encodes_them(sample: Json, one: One, sent: str, key: str) -> None:
    assert one(put(sample("s3-put"), key=sent)).source.key == key


def test_the_key_limit_counts_decoded_bytes(sample: Json, one: One) -> None:
    assert len(one(put(sample("s3-put"), key="%20" * 1024)).source.key) == 1024
    with pytest.raises(EventError):
        one(put(sample("s3-put"), key="%20" * 1025))


@pytest.mark.parametrize(
    ("older", "newer"),
    [("617f08299329d189", "0062E99A88DC407461"), ("65F1", "65F100000001"), ("00A", "00b"), ("FF", "0100")],
)
def test_sequencers_of_different_length_compare_after_padding_on_the_left(
    sample: Json, one: One, older: str, newer: str
) -> None:
    first, second = (one(put(sample("s3-put"), sequencer=s)).position for s in (older, newer))
    assert first is not None
    assert second is not None
    assert first.value < second.value


def test_sequencers_that_differ_only_in_padding_or_case_are_equal(sample: Json, one: One) -> None:
    first, second = (one(put(sample("s3-put"), sequencer=s)).position for s in ("65f1b2", "000065F1B2"))
    assert first == second


def test_sequencers_that_were_kept_padded_on_the_right_keep_their_order() -> None:
    """Ledgers and stamps of earlier versions have this form, and transfer ids must not change."""
    kept = [f"s3-sequencer:{digits.upper().ljust(32, '0')}" for digits in ("617f08299329d189", "0062E99A88DC407461")]
    kept.append("s3-sequencer:0062E99A88DC40746200000000000000")
    assert (found := [Position.parse(text) for text in kept]) == sorted(found, key=lambda p: p.value)
    assert found[1] == Position.sequencer("0062e99a88dc407461") == Position.parse(str(found[1]))
    assert [position.id_text for position in found] == kept


@pytest.mark.parametrize("sequencer", ["0055AED6DCD90281E5", "0062e99a88dc407460", "Happy Sequencer", "", None])
def test_a_constant_or_no_sequencer_is_no_position(sample: Json, one: One, sequencer: str | None) -> None:
    """LocalStack repeats one constant. As an exact position, it would make every later change look settled."""
    assert one(put(sample("s3-put"), sequencer=sequencer)).position is None


@pytest.mark.parametrize("version", [None, "", "null"])
def test_a_bucket_without_versions_names_none(sample: Json, one: One, version: str | None) -> None:
    assert one(put(sample("s3-put"), versionId=version)).source.version == ""


def test_an_explicit_null_is_as_good_as_absent(sample: Json, one: One) -> None:
    body = sample("s3-put")
    body["Records"][0]["s3"]["object"] |= {"versionId": None, "size": None, "eTag": None, "sequencer": None}
    assert (one(body).source.version, one(body).size, one(body).position) == ("", None, None)


def test_a_lifecycle_expiry_is_a_delete_that_says_so(sample: Json, one: One) -> None:
    event = one(sample("s3-lifecycle-expiry"))
    assert (event.change, event.expired, event.size) == (Change.DELETED, True, None)
    assert one(sample("eventbridge-expired")).expired
    assert not one(sample("s3-delete-marker")).expired


@pytest.mark.parametrize("version", ["2.0", "2.4", "2.6", "2.99"])
def test_any_minor_version_is_read(sample: Json, one: One, version: str) -> None:
    body = sample("s3-put")
    body["Records"][0]["eventVersion"] = version
    assert one(body).source.key == "red flower.jpg"


@pytest.mark.parametrize("field", ["eventTime", "eTag", "sequencer", "versionId"])
def test_another_change_of_the_same_key_has_another_id(sample: Json, one: One, field: str) -> None:
    """Changes with equal ids would be lost as duplicates."""
    body = sample("s3-put")
    before = one(body).event_id
    record = body["Records"][0]
    place = record if field == "eventTime" else record["s3"]["object"]
    place[field] = "2024-03-13T14:26:12.944Z" if field == "eventTime" else "AB"
    assert one(body).event_id != before


def test_the_way_it_came_does_not_change_the_event(sample: Json, one: One) -> None:
    """Parse it directly and in an SNS envelope."""
    assert one(sample("sns-s3-put")) == one(sample("s3-put"))


def test_eventbridge_does_not_encode_keys(sample: Json, one: One) -> None:
    event = one(sample("eventbridge-created"))
    assert event.source == ObjectRef(
        Provider.AWS_S3,
        "amzn-s3-demo-bucket1",
        "a+b/2021-10-31T23:08:57.txt",
        "ca-central-1",
        "IYV3p45BT0ac8hjHg1houSdS1a.Mro8e",
    )
    assert event.event_id == "17793124-05d4-b198-2fde-7ededc63b103"
    assert event.size == 5


def test_older_eventbridge_events_carry_no_schema_version(sample: Json, one: One) -> None:
    body = sample("eventbridge-created")
    del body["detail"]["event-version"]
    assert one(body).source.key == "a+b/2021-10-31T23:08:57.txt"


def test_minio_is_a_compatible_store_whose_sequencer_is_its_clock(sample: Json, one: One) -> None:
    event = one(sample("minio-put"))
    assert event.source == ObjectRef(Provider.S3_COMPATIBLE, "mybucket", "photos/hello world.jpg")
    assert event.position == Position.at(0x17C0F2A1B3D4E5F6)
    assert not event.position.exact
    assert event.content_type == "image/jpeg"


def test_minio_names_the_endpoint_by_which_it_knows_itself(sample: Json, one: One) -> None:
    body = sample("minio-put")
    assert one(body).source.endpoint == ""
    record = body["Records"][0]
    record["responseElements"] = {"x-minio-origin-endpoint": "http://172.17.0.2:9000", "x-amz-request-id": "R"}
    assert one(body).source.endpoint == "http://172.17.0.2:9000"


def test_ceph_sends_plain_keys_sizes_as_text_and_a_little_endian_clock(sample: Json, one: One) -> None:
    event = one(sample("ceph-put"))
    assert event.source == ObjectRef(Provider.S3_COMPATIBLE, "mybucket", "a+b %41.jpg", "us-west-2")
    assert event.size == 1024
    assert event.position == Position.at(1_574_430_455_147_931_847)
    assert int(event.occurred_at) == 1_574_430_455


@pytest.mark.parametrize(
    ("name", "change", "expired"),
    [
        ("ObjectCreated:CompleteMultipartUpload", Change.CREATED, False),
        ("s3:ObjectSynced:Create", Change.CREATED, False),
        ("s3:ObjectSynced:DeletionMarkerCreated", Change.DELETED, False),
        ("ObjectRemoved:Delete", Change.DELETED, False),
        ("LifecycleExpiration:DeleteMarkerCreated", Change.DELETED, True),
        ("s3:ObjectLifecycle:Expiration:Current", Change.DELETED, True),
        ("s3:Replication:Create", Change.CREATED, False),
        ("s3:Replication:Delete", Change.DELETED, False),
    ],
)
def test_what_each_event_name_means(sample: Json, one: One, name: str, change: Change, expired: bool) -> None:
    body = sample("s3-put")
    body["Records"][0]["eventName"] = name
    assert (one(body).change, one(body).expired) == (change, expired)


def named(sample: Json, name: str) -> bytes:
    """Return a notification of this name."""
    body = sample("s3-put")
    body["Records"][0]["eventName"] = name
    return json.dumps(body).encode()


def test_every_event_that_amazon_has_is_known(sample: Json) -> None:
    """Every name in the SDK's model is a change or ignored, and none becomes a dead letter."""
    names = botocore.session.get_session().get_service_model("s3").shape_for("Event").enum
    for name in (each.removeprefix("s3:") for each in names if "*" not in each):
        parsed = parse_message(named(sample, name), {})
        assert parsed.events or parsed.ignored == (name,), name


@pytest.mark.parametrize(
    "name",
    [
        "ObjectLifecycle:Expiration:AbortMPU",
        "ObjectLifecycle:Expiration:AbortMultipartUpload",
        "LifecycleDelMarkerExpiration:Delete",
        "Replication:OperationCompletedReplication",
        "Scanner:BigPrefix",
    ],
)
def test_notifications_without_a_change_of_content_are_ignored(sample: Json, name: str) -> None:
    """MinIO and Ceph send these."""
    assert parse_message(named(sample, f"s3:{name}"), {}).ignored == (name,)
