"""How the destination is to encrypt, as LocalStack tells Amazon's own client afterwards, whichever way an object was written."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from dataclasses import replace

import boto3  # type: ignore[import-untyped]  # no stubs are published with it
import pytest
from awscrt.checksums import crc32c

from skyferry.model import Attributes, Checksums
from skyferry.stores.s3.store import S3Store
from skyferry.testing.servers.s3 import S3Place

PART = 5 * 2**20
BODY = os.urandom(2 * PART)
KEY = "arn:aws:kms:us-east-1:000000000000:key/2f0e2b1c-6c1f-4a4e-9a36-0a7d3a1b5c11"


async def whole(store: S3Store, source: S3Store) -> None:
    await store.write("k", BODY, Attributes(), Checksums())


async def in_parts(store: S3Store, source: S3Store) -> None:
    upload = await store.start_upload("k", len(BODY), PART, Attributes())
    halves = BODY[:PART], BODY[PART:]
    parts = [await store.write_part(upload, n, half, f"{crc32c(half):08x}") for n, half in enumerate(halves, 1)]
    await store.finish_upload(upload, parts, Checksums())


async def by_the_provider(store: S3Store, source: S3Store) -> None:
    assert source.copy_source is not None
    await store.copy_from(source.copy_source, await source.head("from"), "k", Attributes())


async def by_the_provider_in_parts(store: S3Store, source: S3Store) -> None:
    assert source.copy_source is not None
    found = await source.head("from")
    upload = await store.start_upload("k", len(BODY), PART, Attributes())
    parts = [await store.copy_part(upload, n + 1, source.copy_source, found) for n in range(2)]
    await store.finish_upload(upload, parts, found.checksums)


@pytest.mark.parametrize("way", [whole, in_parts, by_the_provider, by_the_provider_in_parts])
@pytest.mark.parametrize(
    ("encryption", "key", "told"),
    [("AES256", "", ""), ("aws:kms", KEY, KEY), ("aws:kms:dsse", KEY, "")],  # LocalStack tells no key of the last
)
async def test_every_write_is_encrypted_as_the_store_says(
    localstack_s3: S3Place, way: Callable[[S3Store, S3Store], Awaitable[None]], encryption: str, key: str, told: str
) -> None:
    bucket = await localstack_s3.bucket()
    source = localstack_s3.store(bucket)
    await source.write("from", BODY, Attributes(), Checksums())
    options = replace(localstack_s3.options, encryption=encryption, kms_key=key)
    store = replace(localstack_s3, options=options).store(bucket)
    await way(store, source)
    client = boto3.client(
        "s3",
        endpoint_url=localstack_s3.options.endpoint,
        region_name="us-east-1",
        aws_access_key_id="any",
        aws_secret_access_key="any",
    )
    said = client.head_object(Bucket=bucket, Key="k")
    assert (said["ServerSideEncryption"], said.get("SSEKMSKeyId", "")) == (encryption, told)
    assert (await source.read("k", 0, len(BODY))).data == BODY
    await store.close()
    await source.close()
