"""A lost ledger is made again from the stamps that real servers give back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.cloud_e2e.buckets import AzureContainer, Clouds, Item, S3Bucket
from tests.cloud_e2e.conftest import Skyferry
from tests.cloud_e2e.test_commands import NOTE, configured

KEY = "a b/ü.txt"


@pytest.mark.parametrize("kind", ["s3", "gcs", "azure"])
def test_the_ledger_knows_again_what_was_copied(clouds: Clouds, skyferry: Skyferry, kind: str) -> None:
    """The same transfer, of the same version, as before; what somebody else has put there is a stranger."""
    source, there = clouds.bucket("s3"), clouds.bucket(kind)
    assert isinstance(source, S3Bucket)
    source.put(KEY, NOTE)
    file = configured(source.url, there.url)
    skyferry("submit", f"s3_compatible://{source.name}/{KEY}", "--config", file)
    skyferry("run", "--until-idle", "--no-live", "--listen", "127.0.0.1:0", "--config", file)
    there.put("stranger", Item(b"not ours"))

    def known() -> Any:
        (row,) = skyferry("transfers", "--config", file, "--json")["items"]
        return row["transfer_id"], row["state"], row["key"], row["source"], row["receipt"]["source_version"]

    before = known()
    for part in Path("skyferry-data").glob("ledger.db*"):
        if part.is_file():
            part.unlink()
    (store,) = skyferry("ledger", "rebuild", "--config", file, "--json")["stores"]
    assert (store["objects"], store["remembered"], store["strangers"]) == (2, 1, 1)
    assert known() == before


@pytest.mark.parametrize("one", ["s3", "gcs", "azure"])
def test_copies_that_no_ledger_knows_are_not_written_again(clouds: Clouds, skyferry: Skyferry, one: str) -> None:
    """At Azure, whose answers to a write and to a look have different digests."""
    source, there = clouds.bucket(one), clouds.bucket("azure")
    assert isinstance(there, AzureContainer)
    for key, size in (("small", 9), ("larger", 300_000)):
        source.put(key, Item(b"x" * size))
    skyferry("copy", source.url, there.url)
    written = [blob.etag for blob in there.client.list_blobs()]
    counts = skyferry("copy", source.url, there.url, "--ignore-ledger", "--json")["objects"]
    assert (counts["copied"], counts["present"]) == (0, 2)
    assert [blob.etag for blob in there.client.list_blobs()] == written
