"""Each destination follows when the attributes of an object change and its bytes do not."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.cloud_e2e.buckets import AzureContainer, Clouds, GcsBucket, Item, S3Bucket
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


def test_a_file_goes_to_s3_and_back(clouds: Clouds, skyferry: Skyferry, tmp_path: Path) -> None:
    """Its type is that of its name, its time comes back, and what others read is there."""
    there, mtime = clouds.bucket("s3"), 1577934245_123456789
    assert isinstance(there, S3Bucket)
    (tmp_path / "from").mkdir()
    (tmp_path / "from" / "page.html").write_text("<p>")
    os.utime(tmp_path / "from" / "page.html", ns=(mtime, mtime))
    assert skyferry("copy", f"{tmp_path}/from/", there.url, "--json")["complete"]
    assert there.items() == {"page.html": Item(b"<p>", "text/html", {"mtime": "1577934245.123456789"})}
    assert skyferry("copy", there.url, f"{tmp_path}/back/", "--json")["complete"]
    assert (tmp_path / "back" / "page.html").stat().st_mtime_ns == mtime


def test_folder_markers_become_folders(clouds: Clouds, skyferry: Skyferry, tmp_path: Path) -> None:
    """That of the prefix itself has no key left; each run ends well."""
    source = clouds.bucket("s3")
    for key in ("reports/", "reports/2024/", "reports/empty/", "reports/2024/a"):
        source.put(key, Item(b"a" if key.endswith("a") else b""))
    for _ in range(2):
        assert skyferry("copy", source.url.replace("/?", "/reports/?"), f"{tmp_path}/to/", "--json")["complete"]
    found = {str(path.relative_to(tmp_path / "to")) for path in (tmp_path / "to").rglob("*")}
    assert {name for name in found if not name.startswith(".skyferry")} == {"2024", "2024/a", "empty"}


def test_headers_that_only_s3_has(clouds: Clouds, skyferry: Skyferry) -> None:
    """Expires and a redirect arrive; another cloud is said to have neither."""
    source, there = clouds.bucket("s3"), clouds.bucket("s3")
    assert isinstance(source, S3Bucket)
    assert isinstance(there, S3Bucket)
    expires = "Wed, 21 Oct 2026 07:28:00 GMT"
    given = {"ExpiresString": expires, "WebsiteRedirectLocation": "/other"}
    source.client.put_object(Bucket=source.name, Key=KEY, Body=b"x", Expires=expires, WebsiteRedirectLocation="/other")
    assert skyferry("copy", source.url, there.url, "--json")["lossy"] == ""
    head = there.client.head_object(Bucket=there.name, Key=KEY)
    assert {name: head[name] for name in given} == given
    assert "Expires; website redirects" in skyferry("copy", source.url, clouds.bucket("gcs").url, "--json")["lossy"]


@pytest.mark.parametrize("handling", ["fail", "encode", "drop"])
def test_what_does_not_fit(clouds: Clouds, skyferry: Skyferry, handling: str) -> None:
    """A header and tags that Azure refuses: a dead letter, unless the route says what to do; the receipt says what was done."""
    source, there = clouds.bucket("s3"), clouds.bucket("azure")
    assert isinstance(source, S3Bucket)
    assert isinstance(there, AzureContainer)
    source.put(KEY, Item(b"x"))
    tags = {"TagSet": [{"Key": "mail", "Value": "a@b.c"}, {"Key": "plain", "Value": "1"}]}
    source.client.put_object_tagging(Bucket=source.name, Key=KEY, Tagging=tags)
    stores = {"a": source.url.replace("/?", "?", 1), "b": there.url.replace("/?", "?", 1)}
    document = {
        "stores": {name: {"url": url} for name, url in stores.items()},
        "routes": [{"name": "r", "from": "a", "to": "b", "unfit": {"tags": handling}}],
    }
    Path("skyferry.yaml").write_text(yaml.safe_dump(document))

    config = ("--config", "skyferry.yaml")
    skyferry("submit", f"s3://{source.name}/{KEY}", *config)
    failed = handling == "fail"
    skyferry("run", "--until-idle", "--no-live", "--listen", "127.0.0.1:0", *config, code=3 if failed else 0)
    if failed:
        assert there.items() == {}
        assert "unfit.tags" in skyferry("dead-letters", "list", "--json", *config)["items"][0]["hint"]
        return
    wanted = {"encode": {"mail": "a=40b.c", "plain": "1"}, "drop": {"plain": "1"}}[handling]
    assert there.client.get_blob_client(KEY).get_blob_tags() == wanted
    assert "changed to fit: tag 'mail': " in skyferry("explain", KEY, *config).out


def test_options_of_copy(clouds: Clouds, skyferry: Skyferry, tmp_path: Path) -> None:
    """`copy` has options for the settings of a route."""
    source, there, plain = clouds.bucket("s3"), clouds.bucket("azure"), clouds.bucket("s3")
    assert isinstance(source, S3Bucket)
    assert isinstance(there, AzureContainer)
    source.put(KEY, Item(b"x"))
    source.put("folder/", Item(b""))
    tags = {"TagSet": [{"Key": "mail", "Value": "a@b.c"}]}
    source.client.put_object_tagging(Bucket=source.name, Key=KEY, Tagging=tags)
    refused = skyferry("copy", source.url, there.url, "--folder-markers", "skip", "--json", code=3)
    assert "--unfit tags=" in refused["failures"][0]["hint"]
    options = ("--unfit", "headers=encode,tags=map", "--folder-markers", "skip", "--json")
    assert skyferry("copy", source.url, there.url, *options)["complete"]
    assert set(there.items()) == {KEY}
    assert there.client.get_blob_client(KEY).get_blob_tags() == {"mail": "a_b.c"}
    (tmp_path / "page.html").write_text("<p>")
    assert skyferry("copy", f"{tmp_path}/page.html", plain.url, "--no-guess-content-type", "--json")["complete"]
    assert plain.items()["page.html"].content_type == "binary/octet-stream"
