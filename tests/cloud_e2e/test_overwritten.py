"""The source is overwritten in the middle of a read: the destination holds one version or the other, whole; at last the newest."""

from __future__ import annotations

import asyncio
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web
from azure.storage.blob import BlobBlock
from tests.cloud_e2e.buckets import AzureContainer, Bucket, Clouds, GcsBucket, Item, S3Bucket
from tests.cloud_e2e.test_pairs import noise

from skyferry.testing.servers.proxy import Exchange, FaultProxy

KEY = "large.bin"
PART = 5 * 2**20
PARTS = 8
OLD, NEW = (noise(which, PARTS * PART - 5) for which in ("old", "new"))
BEFORE = 4  # requests for bytes, the first look among them, before it is overwritten
SERVICE = ("run", "--until-idle", "--no-live", "--listen", "127.0.0.1:0")


class Overwriting(FaultProxy):
    """Overwrites the source, and announces that, before it passes a certain request for bytes on."""

    def __init__(self, server: str, source: Bucket, event: str) -> None:
        super().__init__(server, self._see)
        self.source, self.event, self.asked = source, event, 0
        self.old: list[bool] = []  # of each answer with bytes: whether they are of the old version

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Nothing is passed on while it is overwritten."""
        if request.method == "GET" and not {"range", "x-ms-range"}.isdisjoint(map(str.lower, request.headers)):
            self.asked += 1
            if self.asked == BEFORE + 1:
                put(self.source, NEW)
                submit(self.event)
        return await super()._handle(request)

    def _see(self, exchange: Exchange, _: bytes, answer: bytes) -> None:
        if exchange.method == "GET" and exchange.status == 206:
            self.old.append(answer in OLD)


def put(bucket: Bucket, data: bytes) -> None:
    """In parts, so that S3 and Azure declare no digest of the whole, and the pin alone keeps two versions apart."""
    if isinstance(bucket, S3Bucket):
        bucket.client.upload_fileobj(io.BytesIO(data), bucket.name, KEY)
    elif isinstance(bucket, AzureContainer):
        blob, blocks = bucket.client.get_blob_client(KEY), {"1": data[:PART], "2": data[PART:]}
        for name, block in blocks.items():
            blob.stage_block(name, block)
        blob.commit_block_list([BlobBlock(name) for name in blocks])
    else:
        bucket.put(KEY, Item(data))


def keep_versions(bucket: Bucket) -> None:
    """From now on."""
    if isinstance(bucket, S3Bucket):
        bucket.client.put_bucket_versioning(Bucket=bucket.name, VersioningConfiguration={"Status": "Enabled"})
    else:
        assert isinstance(bucket, GcsBucket)
        bucket.bucket.versioning_enabled = True
        bucket.bucket.patch()


def history(bucket: Bucket) -> list[str]:
    """What was ever to be seen in a bucket that keeps versions, the oldest first."""
    if isinstance(bucket, S3Bucket):
        versions = reversed(bucket.client.list_object_versions(Bucket=bucket.name)["Versions"])
        asked = [{"Bucket": bucket.name, "Key": each["Key"], "VersionId": each["VersionId"]} for each in versions]
        seen = [bucket.client.get_object(**each)["Body"].read() for each in asked]
    else:
        assert isinstance(bucket, GcsBucket)
        blobs = bucket.client.list_blobs(bucket.bucket, prefix=KEY, versions=True)
        seen = [blob.download_as_bytes(raw_download=True) for blob in blobs]
    return [{OLD: "old", NEW: "new"}.get(data, "a mix") for data in seen]


def configure(source: Bucket, destination: Bucket, server: str, proxy: str) -> None:
    """One route, which reaches its source by the proxy."""
    stores = {"a": source.url.replace(server, proxy, 1), "b": destination.url}
    settings = {
        "stores": {name: {"url": url.replace("/?", "?", 1)} for name, url in stores.items()},
        "routes": [{"name": "r", "from": "a", "to": "b"}],
        "retry": {"initial_delay": "10ms"},
        "limits": {"part_size": PART, "part_concurrency": 1, "multipart_threshold": 1},
    }
    Path("skyferry.yaml").write_text(yaml.safe_dump(settings))


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "skyferry", *arguments, "--config", "skyferry.yaml"]


def submit(event: str) -> None:
    subprocess.run(command("submit", event), check=True, stdout=subprocess.DEVNULL)


async def log_of(*arguments: str) -> list[dict[str, Any]]:
    """The log of a command that succeeds."""
    process = await asyncio.create_subprocess_exec(*command(*arguments), stderr=subprocess.PIPE)
    _, log = await process.communicate()
    assert process.returncode == 0, log.decode()
    return [json.loads(line) for line in log.splitlines()]


@pytest.mark.usefixtures("skyferry")  # for its environment
@pytest.mark.parametrize(
    ("one", "other", "keeps"),
    [("s3", "gcs", False), ("s3", "gcs", True), ("gcs", "s3", False), ("gcs", "s3", True), ("azure", "gcs", False)],
)
async def test_what_is_overwritten_while_it_is_read_arrives_whole(
    clouds: Clouds, one: str, other: str, keeps: bool
) -> None:
    """Of a bucket that keeps versions the one that was begun and then the new one; of another the new one alone."""
    source, destination = clouds.bucket(one), clouds.bucket(other)
    provider, name, server = place(clouds, source)
    keep_versions(destination)
    if keeps:
        keep_versions(source)
    put(source, OLD)
    event = f"{provider}://{name}/{KEY}"
    async with Overwriting(server, source, event) as proxy:
        configure(source, destination, server, proxy.url)
        submit(event)
        log = await log_of(*SERVICE)
    retries = [each["error"] for each in log if each["event"] == "transfer.retry"]
    assert (history(destination), retries) == ((["old", "new"], []) if keeps else (["new"], ["version_changed"]))
    assert proxy.old.count(True) == (PARTS + 1 if keeps else BEFORE)


def place(clouds: Clouds, bucket: Bucket) -> tuple[str, str, str]:
    """Provider and name as an event has them, and the URL that is to be reached by a proxy."""
    if isinstance(bucket, AzureContainer):
        return "azure_blob", bucket.client.container_name, clouds.azure.rpartition("/")[0]
    if isinstance(bucket, S3Bucket):
        return "s3_compatible", bucket.name, clouds.s3
    assert isinstance(bucket, GcsBucket)
    return "gcp_gcs", bucket.bucket.name, clouds.gcs
