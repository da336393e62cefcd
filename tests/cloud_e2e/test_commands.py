"""The other commands on real servers: what a provider can do, what was left behind, and the service itself between clouds."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
import yaml
from tests.cloud_e2e.buckets import Clouds, GcsBucket, Item, S3Bucket
from tests.cloud_e2e.conftest import Skyferry

from skyferry.cli.exit_codes import ExitCode

NOTE = Item(b"x" * 1000, "text/plain", {"color": "red"})


def base(url: str) -> str:
    """The store's URL: those of these tests end with /."""
    return url.replace("/?", "?")


def configured(source: str, destination: str) -> str:
    """The name of a file with one route."""
    file = Path("skyferry.yaml")
    stores = {"here": {"url": base(source)}, "there": {"url": base(destination)}}
    file.write_text(yaml.safe_dump({"stores": stores, "routes": [{"name": "r", "from": "here", "to": "there"}]}))
    return str(file)


def test_gc_aborts_the_uploads_of_a_dead_worker_and_no_others(clouds: Clouds, skyferry: Skyferry) -> None:
    source, there = clouds.bucket("s3"), clouds.bucket("s3")
    assert isinstance(there, S3Bucket)
    assert isinstance(source, S3Bucket)
    source.put("mine", NOTE)
    file = configured(source.url, there.url)
    skyferry("submit", f"s3_compatible://{source.name}/mine", "--config", file)
    uploads = {
        key: there.client.create_multipart_upload(Bucket=there.name, Key=key)["UploadId"] for key in ("mine", "other")
    }
    skyferry("run", "--until-idle", "--no-live", "--listen", "127.0.0.1:0", "--config", file)
    found = skyferry("gc", "--older-than", "0s", "--config", file, "--json")
    assert [(each["key"], each["remembered"]) for each in found["uploads"]] == [("mine", False)]
    left = there.client.list_multipart_uploads(Bucket=there.name)["Uploads"]
    assert [each["UploadId"] for each in left] == [uploads["other"]]


@pytest.mark.parametrize("kind", ["gcs", "azure"])
def test_the_service_copies_announced_objects(clouds: Clouds, skyferry: Skyferry, kind: str) -> None:
    """An event from outside, through queue, ledger and worker, from S3 to another cloud."""
    source, there = clouds.bucket("s3"), clouds.bucket(kind)
    assert isinstance(source, S3Bucket)
    source.put("a b/ü.txt", NOTE)
    file = configured(source.url, there.url)
    skyferry("submit", f"s3_compatible://{source.name}/a b/ü.txt", "--config", file)
    said = skyferry("run", "--until-idle", "--no-live", "--listen", "127.0.0.1:0", "--config", file)
    assert there.items() == {"a b/ü.txt": NOTE}
    [lost] = [line for line in said.err.splitlines() if "route.metadata_lost" in line]
    assert "Expires; website redirects" in lost
    assert ("tags" in lost) is (kind == "gcs")


def test_copy_names_what_has_no_key_there_and_says_what_is_not_carried(clouds: Clouds, skyferry: Skyferry) -> None:
    source, there = clouds.bucket("s3"), clouds.bucket("gcs")
    assert isinstance(source, S3Bucket)
    longest = "x" * 1024
    for key in ("short", longest):
        source.put(key, NOTE)
    copied = ("copy", source.url, there.url.replace("/?", "/below/?"))
    summary = skyferry(*copied, "--json", code=ExitCode.DEAD_LETTERS)
    assert [each["key"] for each in summary["failures"]] == [longest]
    assert there.items() == {"below/short": NOTE}
    assert "tags" in summary["lossy"]
    said = skyferry(*copied, code=ExitCode.DEAD_LETTERS)
    assert "cannot store" not in said.err  # no object has a tag
    assert "the destination cannot store: tags" in skyferry(*copied, "-v", code=ExitCode.DEAD_LETTERS).err
    assert f"failed: {longest}: the key that it would have" in said.err


def test_conformance_says_what_a_bucket_can_do(clouds: Clouds, skyferry: Skyferry) -> None:
    bucket = clouds.bucket("gcs")
    bucket.put("mine", NOTE)
    told = skyferry("conformance", bucket.url, "--objects", "20", "--json")
    assert {each["outcome"] for each in told["results"]} <= {"passed", "skipped"}
    assert bucket.items() == {"mine": NOTE}


def test_ls_and_head_see_what_is_there(clouds: Clouds, skyferry: Skyferry) -> None:
    for kind in ("s3", "gcs", "azure"):
        bucket = clouds.bucket(kind)
        bucket.put("a/b.txt", NOTE)
        url = bucket.url.replace("/?", "/a/b.txt?")
        assert skyferry("ls", bucket.url, "--json")["key"] == "a/b.txt", "one line"
        seen = skyferry("head", url, "--json")
        assert (seen["size"], seen["attributes"]["content_type"]) == (1000, "text/plain")
        assert seen["attributes"]["metadata"] == {"color": "red"}


def test_one_failure_that_passes_ends_no_command(clouds: Clouds, skyferry: Skyferry) -> None:
    """A 503 to a listing, to a look, and to the listing of uploads."""
    there = clouds.bucket("gcs")
    assert isinstance(there, GcsBucket)
    there.put("a/b.txt", NOTE)
    upload = there.bucket.blob(".skyferry-uploads/1")
    upload.metadata = {"skyferry-key": "k"}
    upload.upload_from_string(b"")
    file = configured(clouds.bucket("s3").url, there.url)
    skyferry("run", "--until-idle", "--no-live", "--listen", "127.0.0.1:0", "--config", file)  # makes the ledger

    def unavailable(*targets: str) -> None:
        faults = [{"method": "GET", "target": f"{there.bucket.name}/o{target}", "status": 503} for target in targets]
        plan = urllib.request.Request(f"{clouds.gcs}/_fake/faults", json.dumps(faults).encode())
        urllib.request.urlopen(plan).close()

    unavailable("?")
    assert len(skyferry("ls", there.url).out.splitlines()) == 1
    unavailable("/a%2Fb.txt?")
    assert skyferry("head", there.url.replace("/?", "/a/b.txt?"), "--json")["size"] == 1000
    unavailable("?")
    found = skyferry("gc", "--older-than", "0s", "--config", file, "--json")
    assert [each["key"] for each in found["uploads"]] == ["k"]
    with urllib.request.urlopen(f"{clouds.gcs}/_fake/faults") as left:
        assert json.load(left) == {"pending": 0}


def test_an_error_about_what_was_typed_names_it_so(clouds: Clouds, skyferry: Skyferry) -> None:
    bucket = clouds.bucket("s3")
    bucket.put("a", NOTE)
    absent, single = bucket.url.replace("/?", "/b?"), bucket.url.replace("/?", "/a?")
    assert f"error: {absent}: nothing is there" in skyferry("copy", absent, "out", code=1).err
    assert f"error: {single}: the source is a single object" in skyferry("copy", single, "out", "--delete", code=2).err


def test_a_bucket_that_does_not_exist_ends_the_copy_at_once(clouds: Clouds, skyferry: Skyferry, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    said = skyferry("copy", "file", f"s3://no-such-bucket-here/?endpoint={clouds.s3}&identity=static", code=1)
    assert f"error: s3://no-such-bucket-here/?endpoint={clouds.s3}&identity=static: " in said.err
    said = skyferry("ls", f"s3://no-such-bucket-here?endpoint={clouds.s3}&identity=static", code=1)
    assert f"error: s3://no-such-bucket-here?endpoint={clouds.s3}&identity=static: " in said.err


@pytest.mark.parametrize(("source", "destination"), [("a/", "a/b/"), ("a", "a/"), ("a", "a/b"), ("", "b")])
def test_a_prefix_is_not_copied_into_itself(clouds: Clouds, skyferry: Skyferry, source: str, destination: str) -> None:
    """The listing would find the copies, and they theirs."""
    bucket = clouds.bucket("s3")
    bucket.put("a/x", NOTE)
    one, other = (bucket.url.replace("/?", f"/{key}?") for key in (source, destination))
    assert f"error: {other}: the destination is inside the source" in skyferry("copy", one, other, code=2).err
    assert list(bucket.items()) == ["a/x"]
    bucket.put("a", NOTE)
    skyferry("copy", bucket.url.replace("/?", "/a?"), bucket.url.replace("/?", "/a/?"))  # an object, no prefix
    assert sorted(bucket.items()) == ["a", "a/a", "a/x"]


def test_gc_finds_what_a_killed_copy_has_left(clouds: Clouds, skyferry: Skyferry, tmp_path: Path) -> None:
    """In the bucket that is named: not what another program uploads there, and not what is in another bucket."""
    there, elsewhere = clouds.bucket("s3"), clouds.bucket("s3")
    assert isinstance(there, S3Bucket)
    theirs = there.client.create_multipart_upload(Bucket=there.name, Key="large")["UploadId"]
    with (tmp_path / "large").open("wb") as file:
        file.truncate(256 * 2**20)

    def uploads() -> list[str]:
        return [each["UploadId"] for each in there.client.list_multipart_uploads(Bucket=there.name)["Uploads"]]

    def begun() -> bool:
        """A part is there, and so the ledger knows of the upload."""
        ours = [each for each in uploads() if each != theirs]
        return any("Parts" in there.client.list_parts(Bucket=there.name, Key="large", UploadId=each) for each in ours)

    with subprocess.Popen([sys.executable, "-m", "skyferry", "copy", "large", there.url]) as copy:
        while not begun():
            assert copy.poll() is None
        copy.kill()
    assert skyferry("gc", elsewhere.url, "--older-than", "0s", "--json")["uploads"] == []
    assert skyferry("gc", there.url, "--json")["uploads"] == []  # too young
    found = skyferry("gc", there.url, "--older-than", "0s", "--json")["uploads"]
    assert [(each["key"], each["remembered"]) for each in found] == [("large", True)]
    assert uploads() == [theirs]
