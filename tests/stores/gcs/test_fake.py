"""The fake of Cloud Storage does as Google's own client expects, and refuses what Google refuses."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from google.api_core.exceptions import BadRequest, Conflict, Forbidden, NotFound, PreconditionFailed
from tests.cloud_e2e.buckets import GcsBucket, Item

from skyferry.testing.servers.gcs import GcsPlace

TOPIC = "//pubsub.googleapis.com/projects/project/topics/topic"


@pytest.fixture
def there(gcs: GcsPlace) -> GcsBucket:
    """As Google's client sees it."""
    return GcsBucket(gcs.options.endpoint)


@pytest.fixture
async def http(gcs: GcsPlace) -> AsyncIterator[aiohttp.ClientSession]:
    """For what that client does not let one ask."""
    async with aiohttp.ClientSession(gcs.options.endpoint) as session:
        yield session


def ask(there: GcsBucket, method: str, path: str = "", **more: Any) -> Any:
    """A request about the bucket."""
    return there.client._connection.api_request(method=method, path=f"{there.bucket.path}{path}", **more)


def test_old_generations_are_listed_as_its_client_asks_for_them(there: GcsBucket) -> None:
    there.bucket.versioning_enabled = True
    there.bucket.patch()
    for data in (b"old", b"new"):
        there.put("k", Item(data))
    assert [len(list(there.client.list_blobs(there.bucket, versions=old))) for old in (True, False)] == [2, 1]


def test_a_bucket_is_changed_as_far_as_it_is_what_was_expected(there: GcsBucket) -> None:
    before = there.bucket.metageneration
    there.bucket.labels = {"a": "1", "b": "2"}
    there.bucket.patch(if_metageneration_match=before)
    assert there.bucket.metageneration == before + 1
    for change in (there.bucket.patch, there.bucket.reload):
        with pytest.raises(PreconditionFailed):
            change(if_metageneration_match=before)
    with pytest.raises(PreconditionFailed):
        ask(there, "DELETE", query_params={"ifMetagenerationMatch": before})
    changed = ask(there, "PATCH", data={"labels": {"a": None, "c": "3"}})
    assert changed["labels"] == {"b": "2", "c": "3"}
    there.put("k", Item(b""))
    with pytest.raises(Conflict):
        there.bucket.delete()


def test_what_a_retention_policy_keeps_is_neither_deleted_nor_replaced(there: GcsBucket) -> None:
    """It holds for what is there already, too; a bucket with versioning may make it noncurrent, and no more."""
    there.put("k", Item(b"old"))
    blob = there.bucket.get_blob("k")
    assert blob.retention_expiration_time is None
    there.bucket.retention_period = 3600
    there.bucket.patch()
    blob.reload()
    assert (blob.retention_expiration_time - blob.time_created).total_seconds() == 3600
    for change in (blob.delete, lambda: there.put("k", Item(b"new"))):
        with pytest.raises(Forbidden, match="retention policy"):
            change()
    there.bucket.versioning_enabled = True
    there.bucket.patch()
    there.put("k", Item(b"new"))
    there.bucket.delete_blob("k")
    with pytest.raises(Forbidden):
        there.bucket.delete_blob("k", generation=blob.generation)
    assert len(list(there.client.list_blobs(there.bucket, versions=True))) == 2


@pytest.mark.parametrize("name", ["Capital", "goog-x", "my-google-1", "x" * 64, "a..b", "ab", "a.-b", "a\n"])
def test_a_name_that_no_bucket_can_have_is_refused(there: GcsBucket, name: str) -> None:
    with pytest.raises(BadRequest):
        there.client._connection.api_request(method="POST", path="/b", data={"name": name})


def test_notifications_are_kept_and_removed_one_by_one(there: GcsBucket) -> None:
    """The id of one that was removed means no other."""
    one, other = (there.bucket.notification(f"topic{n}", topic_project="project") for n in range(2))
    for each in (one, other):
        each.create()
    assert there.bucket.get_notification(one.notification_id).payload_format == "NONE"
    for gone in (one, other):
        gone.delete()
        with pytest.raises(NotFound):
            there.bucket.get_notification(gone.notification_id)
    another = there.bucket.notification("topic", topic_project="project")
    another.create()
    assert [each.notification_id for each in there.bucket.list_notifications()] == [another.notification_id]
    assert another.notification_id not in (one.notification_id, other.notification_id)


@pytest.mark.parametrize(
    "given", [{"topic": TOPIC}, {"payload_format": "NONE"}, {"topic": "t", "payload_format": "NONE"}]
)
def test_a_notification_names_its_topic_and_its_format(there: GcsBucket, given: dict[str, str]) -> None:
    with pytest.raises(BadRequest):
        ask(there, "POST", "/notificationConfigs", data=given)


def test_a_topic_may_be_named_as_gcloud_names_it(there: GcsBucket) -> None:
    """Without the service; it is kept with it."""
    given = {"topic": TOPIC.removeprefix("//pubsub.googleapis.com/"), "payload_format": "NONE"}
    assert ask(there, "POST", "/notificationConfigs", data=given)["topic"] == TOPIC


async def test_a_small_upload_may_be_as_gcloud_writes_it(there: GcsBucket, http: aiohttp.ClientSession) -> None:
    """Lines end with LF alone, and the boundary stands in single quotes; what belongs to the object stays."""
    body = b'--==1==\nContent-Type: application/json\n\n{"name": "k"}\n--==1==\nContent-Type: text/plain\n\na\n\nb\r\n\n--==1==--'
    url = f"/upload/storage/v1/b/{there.bucket.name}/o?uploadType=multipart"
    async with http.post(url, data=body, headers={"content-type": "multipart/related; boundary='==1=='"}) as answer:
        assert answer.status == 200, await answer.text()
    blob = there.bucket.blob("k")
    assert (blob.download_as_bytes(), blob.content_type) == (b"a\n\nb\r\n", "text/plain")


async def test_a_resumable_upload_is_held_to_its_precondition_at_its_end(
    there: GcsBucket, http: aiohttp.ClientSession
) -> None:
    there.put("k", Item(b""))
    session = there.bucket.blob("k").create_resumable_upload_session(if_generation_match=0)
    async with http.put(session, data=b"data") as answer:
        assert answer.status == 412
    session = there.bucket.blob("k").create_resumable_upload_session()
    async with http.put(session, data=b"data", headers={"content-range": "bytes 0-3/3"}) as answer:
        assert answer.status == 400
    assert there.items()["k"].data == b""


async def test_parameters_count(there: GcsBucket, http: aiohttp.ClientSession) -> None:
    """`contentEncoding` of an upload, and a number that is none."""
    query = {"uploadType": "media", "name": "k", "contentEncoding": "gzip"}
    async with http.post(f"/upload/storage/v1{there.bucket.path}/o", params=query, data=b"data") as answer:
        assert (await answer.json())["contentEncoding"] == "gzip"
    async with http.get(f"/storage/v1{there.bucket.path}/o", params={"maxResults": "many"}) as answer:
        assert answer.status == 400


def test_a_composed_object_that_changes_its_class_is_one_piece(there: GcsBucket) -> None:
    for key in "ab":
        there.put(key, Item(b"data"))
    made = there.bucket.blob("k")
    made.compose([there.bucket.blob(key) for key in "ab"])
    assert made.component_count == 2
    made.update_storage_class("COLDLINE")
    assert made.component_count == 1
