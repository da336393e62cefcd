"""The options of `skyferry copy` between clouds: every store lists, compares, deletes and streams in its own way."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import pytest
from tests.cloud_e2e.buckets import Bucket, Clouds, Item
from tests.cloud_e2e.conftest import Skyferry

from skyferry.cli.exit_codes import ExitCode
from skyferry.engine.streaming import PART

KINDS = ["s3", "gcs", "azure"]


def at(bucket: Bucket, key: str) -> str:
    """The URL of a key."""
    base, mark, query = bucket.url.partition("?")
    return f"{base.rstrip('/')}/{key}{mark}{query}"


def fill(bucket: Bucket, **objects: str) -> None:
    for key, text in objects.items():
        bucket.put(key.replace("__", "/"), Item(text.encode()))


def held(bucket: Bucket) -> dict[str, bytes]:
    return {key: item.data for key, item in bucket.items().items()}


@pytest.mark.parametrize("kind", KINDS)
def test_the_destination_becomes_equal(clouds: Clouds, skyferry: Skyferry, kind: str) -> None:
    source, there = clouds.bucket("s3"), clouds.bucket(kind)
    fill(source, a="1", b__c="2")
    fill(there, **{"old": "x", "keep.log": "y", "b__d": "z"})
    before = held(there)
    options = ("copy", source.url, there.url, "--delete", "--exclude", "*.log", "--json")
    told = skyferry(*options, "--dry-run")
    assert (told["objects"]["copied"], told["objects"]["deleted"], held(there)) == (2, 2, before)
    told = skyferry(*options)
    assert (told["complete"], told["objects"]["deleted"]) == (True, 2)
    assert held(there) == held(source) | {"keep.log": b"y"}


@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_bucket_deletes_nothing(clouds: Clouds, skyferry: Skyferry, kind: str) -> None:
    source, there = clouds.bucket(kind), clouds.bucket("s3")
    fill(there, a="1", b="2")
    gone = source.url.replace("://", "://no-", 1) if kind != "azure" else source.url.rstrip("/").replace("?", "x?", 1)
    skyferry("copy", gone, there.url, "--delete", code=ExitCode.FAILED)
    told = skyferry("copy", source.url, there.url, "--delete", "--json", code=ExitCode.DEAD_LETTERS)
    assert (told["objects"]["withheld"], len(held(there))) == (2, 2)


@pytest.mark.parametrize("kind", KINDS)
def test_a_wildcard_chooses_keys_and_an_exact_key_wins(clouds: Clouds, skyferry: Skyferry, kind: str) -> None:
    source, there = clouds.bucket(kind), clouds.bucket("s3")
    fill(source, **{"logs__a.gz": "1", "logs__b.txt": "2", "logs__deep__c.gz": "3"})
    skyferry("copy", at(source, "logs/*.gz"), there.url, "--json")
    assert held(there) == {"a.gz": b"1"}
    source.put("logs/*.gz", Item(b"star"))
    skyferry("copy", at(source, "logs/*.gz"), there.url, "--json")
    assert held(there) == {"a.gz": b"1", "*.gz": b"star"}
    skyferry("copy", at(source, "none/*"), there.url, code=ExitCode.FAILED)


@pytest.mark.parametrize("kind", KINDS)
def test_equal_contents_are_not_copied(clouds: Clouds, skyferry: Skyferry, kind: str) -> None:
    source, there = clouds.bucket("s3"), clouds.bucket(kind)
    fill(source, a="1", b="2")
    fill(there, a="1", b="X")
    told = skyferry("copy", source.url, there.url, "--checksum", "--json")
    assert (told["objects"]["copied"], told["objects"]["present"], held(there)) == (1, 1, held(source))
    told = skyferry("copy", source.url, there.url, "--checksum", "--json")
    assert told["objects"]["present"] == 2


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [7, PART, PART + 1, 2 * PART + 5])
def test_a_stream_arrives_and_comes_back(
    clouds: Clouds, skyferry: Skyferry, kind: str, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    there, data = clouds.bucket(kind), os.urandom(size)
    Path("in").write_bytes(data)
    with open("in", "rb") as given:  # with a descriptor, for the copy waits for input there
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(given))
        assert skyferry("copy", "-", at(there, "k"), "--json")["bytes"] == size
    assert held(there) == {"k": data}
    back = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(back))
    skyferry("copy", at(there, "k"), "-")
    assert back.getvalue() == data


def test_keys_come_from_a_list(clouds: Clouds, skyferry: Skyferry) -> None:
    source, there = clouds.bucket("s3"), clouds.bucket("gcs")
    fill(source, pre__a="1", pre__b="2", c="3")
    Path("keys").write_text("a\nabsent\n")
    told = skyferry("copy", at(source, "pre"), there.url, "--files-from", "keys", "--json", code=ExitCode.DEAD_LETTERS)
    assert (held(there), told["failures"][0]["key"]) == ({"a": b"1"}, "pre/absent")
