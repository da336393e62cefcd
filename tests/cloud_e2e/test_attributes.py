"""What an object carries changes and its bytes do not: each destination follows."""

from __future__ import annotations

import time
from typing import Any

import pytest
from tests.cloud_e2e.buckets import Clouds, GcsBucket, Item, S3Bucket
from tests.cloud_e2e.conftest import Skyferry

KEY = "k"


@pytest.mark.parametrize("other", ["s3", "gcs", "azure"])
def test_new_metadata_with_the_same_bytes_arrive(clouds: Clouds, skyferry: Skyferry, other: str) -> None:
    """The generation stays at Cloud Storage; the copy is changed in place, and a third run finds nothing to do."""
    source, there = clouds.bucket("gcs"), clouds.bucket(other)
    assert isinstance(source, GcsBucket)
    source.put(KEY, Item(b"same", "text/plain", {"colour": "red", "gone": "soon"}))
    counts = []
    for _ in range(2):
        counts.append(skyferry("copy", source.url, there.url, "--json")["objects"]["copied"])
        blob = source.bucket.blob(KEY)
        blob.metadata, blob.content_type = {"colour": "blue", "gone": None}, "text/html"
        blob.patch()
        counts.append(skyferry("copy", source.url, there.url, "--json")["objects"]["copied"])
        assert there.items()[KEY] == Item(b"same", "text/html", {"colour": "blue"})
    counts.append(skyferry("copy", source.url, there.url, "--json")["objects"]["copied"])
    assert counts[:2] == [1, 1]
    assert counts[-1] == 0


def test_the_same_bytes_put_again(clouds: Clouds, skyferry: Skyferry) -> None:
    """An S3 bucket without versions keeps the ETag. Tags alone are no write: only a look at every object finds them."""
    source, there = clouds.bucket("s3"), clouds.bucket("s3")
    assert isinstance(source, S3Bucket)
    assert isinstance(there, S3Bucket)

    def copied(*options: str) -> Any:
        return skyferry("copy", source.url, there.url, "--json", *options)["objects"]["copied"]

    source.put(KEY, Item(b"same", "text/plain", {"colour": "red"}))
    assert copied() == 1
    time.sleep(1.0 - time.time() % 1.0)  # the time of a write has whole seconds
    source.put(KEY, Item(b"same", "text/plain", {"colour": "blue"}))
    assert (copied(), there.items()[KEY].metadata) == (1, {"colour": "blue"})
    tags = {"TagSet": [{"Key": "state", "Value": "final"}]}
    source.client.put_object_tagging(Bucket=source.name, Key=KEY, Tagging=tags)
    assert copied() == 0
    assert copied("--ignore-ledger") == 1
    assert there.client.get_object_tagging(Bucket=there.name, Key=KEY)["TagSet"] == tags["TagSet"]
