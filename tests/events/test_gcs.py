"""Cloud Storage's notifications, with their traps."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from skyferry.errors import EventError, InvalidKey
from skyferry.events.detect import parse_message
from skyferry.model import Change, ObjectEvent, ObjectRef, Position, Provider

Json = Callable[[str], Any]
One = Callable[[object], ObjectEvent]
GENERATION = "00001610674215009182"


def test_pulled_and_pushed_say_the_same(sample: Json, one: One) -> None:
    """A pull has attributes next to the data; a push has both in an envelope."""
    message = sample("gcs-finalize")["message"]
    pulled = parse_message(base64.b64decode(message["data"]), message["attributes"])
    assert pulled.events == (one(sample("gcs-finalize")),)


def test_a_finalize_says_all_that_cloud_storage_said(sample: Json, one: One) -> None:
    event = one(sample("gcs-finalize"))
    assert event.source == ObjectRef(Provider.GCP_GCS, "foo", "bar/a+b%41.txt", version="1610674215009182")
    assert event.position == Position("gcs-generation", f"{GENERATION}.00000000000000000001")
    assert (event.change, event.size, event.content_type) == (Change.CREATED, 3, "text/plain")
    assert event.occurred_at == 1610674215.01


def test_without_a_payload_a_finalize_still_knows_its_metageneration(sample: Json, one: One) -> None:
    """A generation begins at metageneration 1."""
    assert one(sample("gcs-finalize-attributes-only")).position == one(sample("gcs-finalize")).position


def test_a_metadata_update_is_a_change_with_its_own_place(sample: Json, one: One) -> None:
    event = one(sample("gcs-metadata-update"))
    assert event.change is Change.CREATED
    assert event.position == Position("gcs-generation", f"{GENERATION}.00000000000000000002")


def test_a_metadata_update_without_payload_cannot_pass_for_the_creation(sample: Json, one: One) -> None:
    """Its metageneration is unknown, so it has neither position nor version, and only its id identifies it."""
    event = one(sample("gcs-metadata-update-attributes-only"))
    assert (event.position, event.source.version) == (None, "")
    later = sample("gcs-metadata-update-attributes-only")
    later["message"]["attributes"]["eventTime"] = "2021-01-15T01:31:15.01Z"
    assert one(later).event_id != event.event_id


@pytest.mark.parametrize("name", ["gcs-delete", "gcs-archive"])
def test_the_end_of_a_generation_orders_between_it_and_the_next(sample: Json, one: One, name: str) -> None:
    ended, updated = one(sample(name)).position, one(sample("gcs-metadata-update")).position
    body = sample("gcs-finalize-attributes-only")
    body["message"]["attributes"]["objectGeneration"] = "1610674215009183"
    following = one(body).position
    assert ended is not None
    assert updated is not None
    assert following is not None
    assert updated.value < ended.value < following.value


def test_the_delete_of_an_overwrite_is_marked(sample: Json, one: One) -> None:
    assert one(sample("gcs-delete-overwritten")).overwritten
    assert not one(sample("gcs-delete")).overwritten
    assert not one(sample("gcs-finalize")).overwritten, "overwroteGeneration is the other half"
    body = sample("gcs-finalize")
    body["message"]["attributes"]["overwrittenByGeneration"] = "1710674215009182"
    assert not one(body).overwritten, "only a delete is half of an overwrite"


def test_one_event_under_several_message_ids_is_one_event(sample: Json, one: One) -> None:
    body = sample("gcs-finalize")
    body["message"] |= {"messageId": "2020", "publishTime": "2021-01-15T01:30:19Z"}
    assert one(body) == one(sample("gcs-finalize"))


def test_custom_attributes_are_ignored(sample: Json, one: One) -> None:
    body = sample("gcs-finalize")
    body["message"]["attributes"] |= {"team": "red", "schemaVersion": "2.0.0"}
    assert one(body) == one(sample("gcs-finalize"))


def test_checksums_are_left_to_the_object(sample: Json, one: One) -> None:
    """They belong to the event's generation, but the copy reads the newest, which may differ."""
    checksums = one(sample("gcs-finalize")).checksums
    assert not checksums.crc32c
    assert not checksums.md5


def test_a_lone_surrogate_in_an_attribute_is_a_bad_key(sample: Json) -> None:
    attributes = sample("gcs-archive")["message"]["attributes"] | {"objectId": "a\ud800"}
    with pytest.raises(InvalidKey):
        parse_message(b"", attributes)


def test_a_number_for_an_attribute_is_refused(sample: Json, one: One) -> None:
    body = sample("gcs-archive")
    body["message"]["attributes"]["objectGeneration"] = 1610674215009182
    with pytest.raises(EventError, match="must be a string"):
        one(body)


def test_the_time_of_the_object_is_that_of_its_payload(sample: Json, one: One) -> None:
    """A change of metadata does not change it; without a payload it is unknown."""
    message = sample("gcs-metadata-update")["message"]
    payload = {"timeCreated": "2021-01-15T01:30:15.010Z"}
    message["data"] = base64.b64encode(orjson.dumps(payload)).decode()
    assert one({"message": message, "subscription": "s"}).created_at == 1610674215.01
    assert one(sample("gcs-metadata-update-attributes-only")).created_at is None
