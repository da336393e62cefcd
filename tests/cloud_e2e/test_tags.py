"""Tags of large objects arrive, as the providers' own clients see them."""

from __future__ import annotations

from typing import Any

import pytest
from tests.cloud_e2e.buckets import AzureContainer, Bucket, Clouds, Item, S3Bucket
from tests.cloud_e2e.conftest import Skyferry
from tests.cloud_e2e.test_pairs import LARGE, noise

KEY = "large"
TAGS = {
    "two words": "a+b-c=d.e_f:g/h",
    "empty": "",
    **{f"t{n}": "x" * 256 for n in range(8)},
}  # as many as there may be


def tags_of(bucket: Bucket) -> Any:
    if isinstance(bucket, AzureContainer):
        return bucket.client.get_blob_client(KEY).get_blob_tags()
    assert isinstance(bucket, S3Bucket)
    told = bucket.client.get_object_tagging(Bucket=bucket.name, Key=KEY)["TagSet"]
    return {tag["Key"]: tag["Value"] for tag in told}


@pytest.mark.parametrize(("other", "host"), [("s3", "127.0.0.1"), ("s3", "localhost"), ("azure", "127.0.0.1")])
def test_tags_of_a_large_object_arrive(clouds: Clouds, skyferry: Skyferry, other: str, host: str) -> None:
    """Copied by S3 itself; through us, where the endpoint's name makes another provider of it; and at another cloud."""
    source, there = clouds.bucket("s3"), clouds.bucket(other)
    assert isinstance(source, S3Bucket)
    item = Item(noise("tags", LARGE), "video/mp4", {"color": "red"})
    source.put(KEY, item)
    wanted = {"TagSet": [{"Key": key, "Value": value} for key, value in TAGS.items()]}
    source.client.put_object_tagging(Bucket=source.name, Key=KEY, Tagging=wanted)
    url = source.url.replace("127.0.0.1", host)
    assert skyferry("copy", url, there.url, "--json")["complete"]
    assert (there.items()[KEY], tags_of(there)) == (item, TAGS)
