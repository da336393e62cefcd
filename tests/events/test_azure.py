"""Blob Storage's events, with their traps."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest

from skyferry.errors import EventError
from skyferry.events.detect import parse_message
from skyferry.model import Change, ObjectEvent, ObjectRef, Position, Provider

Json = Callable[[str], Any]
One = Callable[[object], ObjectEvent]


def test_a_created_blob_says_all_that_event_grid_said(sample: Json, one: One) -> None:
    event = one(sample("azure-created"))
    assert event.source == ObjectRef(
        Provider.AZURE_BLOB, "test-container", "dir/new+file %41.txt", version="0x8D4BCC2E4835CD0", account="acct"
    )
    assert event.position == Position("azure-sequencer", "00000000000004420000000000028963")
    assert (event.change, event.size, event.content_type) == (Change.CREATED, 524288, "text/plain")
    assert event.event_id == "831e1650-001e-001b-66ab-eeb76e069631"
    assert event.occurred_at == 1498502460.958410


def test_array_single_base64_and_cloudevents_say_the_same(sample: Json, one: One) -> None:
    event = one(sample("azure-created"))
    body = json.dumps(sample("azure-created")).encode()
    assert one(sample("azure-created-single")) == event
    assert parse_message(base64.b64encode(body), {}).events == (event,)
    assert parse_message(base64.encodebytes(body).replace(b"\n", b"") + b"\r\n", {}).events == (event,)
    cloud = one(sample("cloudevents-created"))
    assert (cloud.format, cloud.event_id, cloud.source) == ("cloudevents", event.event_id, event.source)


def test_ids_that_are_no_uuid_become_one(sample: Json) -> None:
    """CloudEvents guarantees an id only together with the source."""
    events = parse_message(json.dumps(sample("cloudevents-several")).encode(), {}).events
    other = sample("cloudevents-several")
    other[0]["source"] = "/subscriptions/y"
    ids = [e.event_id for e in (*events, *parse_message(json.dumps(other).encode(), {}).events)]
    assert len(set(ids)) == 3
    assert ids[1] == ids[3]


def test_a_file_just_begun_is_not_copied_but_once_it_is_flushed(sample: Json, one: One) -> None:
    body = sample("azure-create-file")
    assert parse_message(json.dumps(body).encode(), {}).events == ()
    assert one(sample("azure-flush-with-close")).size == 524288


def test_a_rename_is_a_delete_of_the_old_and_a_create_of_the_new_name(sample: Json) -> None:
    old, new = parse_message(json.dumps(sample("azure-renamed")).encode(), {}).events
    assert (old.change, old.source.bucket, old.source.key) == (Change.DELETED, "fs", "old %41.txt")
    assert (new.change, new.source.bucket, new.source.key) == (Change.CREATED, "fs", "new name.txt")
    assert old.position is None, "the sequencer is comparable for the new name only"
    assert new.position is not None
    assert old.correlation_id == new.correlation_id


def test_a_rename_whose_urls_are_not_encoded_is_not_decoded(sample: Json) -> None:
    body = sample("azure-renamed")
    body[0]["data"] |= {
        "sourceUrl": "https://acct.dfs.core.windows.net/fs/old %41.txt",
        "destinationUrl": "https://acct.dfs.core.windows.net/fs/new name.txt",
    }
    assert parse_message(json.dumps(body).encode(), {}).events[0].source.key == "old %41.txt"


def test_a_rename_whose_old_name_cannot_be_read_is_refused(sample: Json, one: One) -> None:
    body = sample("azure-renamed")
    for url in ("https://acct.dfs.core.windows.net", "https://acct.dfs.core.windows.net/fs/%ff", 7):
        body[0]["data"]["sourceUrl"] = url
        with pytest.raises(EventError) as caught:
            one(body)
        assert caught.value.where == "[0].data.sourceUrl"


@pytest.mark.parametrize("url", ["", None])
def test_a_rename_without_the_old_name_is_a_create_of_the_new_one_and_counted(sample: Json, url: str | None) -> None:
    body = sample("azure-renamed")
    body[0]["data"]["sourceUrl"] = url
    parsed = parse_message(json.dumps(body).encode(), {})
    assert [(e.change, e.source.key) for e in parsed.events] == [(Change.CREATED, "new name.txt")]
    assert parsed.ignored == ("BlobRenamed:no sourceUrl",)


def test_a_directory_deleted_empty_concerns_no_blob(sample: Json) -> None:
    body = sample("azure-created")
    body[0] |= {"eventType": "Microsoft.Storage.DirectoryDeleted"}
    body[0]["data"] |= {"recursive": "false"}
    assert parse_message(json.dumps(body).encode(), {}).ignored == ("DirectoryDeleted",)


@pytest.mark.parametrize("name", ["BlobTierChanged", "LifecyclePolicyCompleted", "StorageTaskAssignmentCompleted"])
def test_what_is_no_change_of_content_is_ignored(sample: Json, name: str) -> None:
    """A subscription without a filter delivers it too."""
    body = sample("azure-created")
    body[0]["eventType"] = f"Microsoft.Storage.{name}"
    assert parse_message(json.dumps(body).encode(), {}).ignored == (name,)


@pytest.mark.parametrize(
    ("topic", "url", "account"),
    [
        ("/subscriptions/1/resourceGroups/g/providers/Microsoft.Storage/storageAccounts/Acct", "", "acct"),
        ("/x", "https://acct.blob.core.windows.net/c/k", "acct"),
        ("/x", "https://acct-secondary.dfs.core.chinacloudapi.cn/c/k", "acct"),
        ("/x", "http://127.0.0.1:10000/devstoreaccount1/c/k", ""),
        ("/x", "https://photos.example.org/c/k", ""),
        ("/x", "", ""),
    ],
)
def test_the_account_is_read_from_the_event(sample: Json, one: One, topic: str, url: str, account: str) -> None:
    body = sample("azure-created")
    body = body[0] if isinstance(body, list) else body
    body["topic"], body["data"]["url"] = topic, url
    assert one([body]).source.account == account
