"""The key that Cloud Storage is to encrypt with, as Google's own client reads it, whichever way an object was written.

Our fake notes the key and encrypts nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest
from awscrt.checksums import crc32c
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage  # type: ignore[import-untyped]  # no stubs are published with it

from skyferry.model import Attributes, Checksums
from skyferry.stores.gcs.store import GcsStore
from skyferry.testing.servers.gcs import GcsPlace

KEY = "projects/p/locations/eu/keyRings/r/cryptoKeys/k"
BODY = b"0123456789"


async def whole(store: GcsStore, source: GcsStore) -> None:
    await store.write("k", BODY, Attributes(), Checksums())


async def in_parts(store: GcsStore, source: GcsStore) -> None:
    upload = await store.start_upload("k", len(BODY), 5, Attributes())
    halves = BODY[:5], BODY[5:]
    parts = [await store.write_part(upload, n, half, f"{crc32c(half):08x}") for n, half in enumerate(halves, 1)]
    await store.finish_upload(upload, parts, Checksums())


async def by_the_provider(store: GcsStore, source: GcsStore) -> None:
    assert source.copy_source is not None
    await store.copy_from(source.copy_source, await source.head("from"), "k", Attributes())


@pytest.mark.parametrize("way", [whole, in_parts, by_the_provider])
async def test_every_write_names_the_key(gcs: GcsPlace, way: Callable[[GcsStore, GcsStore], Awaitable[None]]) -> None:
    bucket = await gcs.bucket()
    source = gcs.store(bucket)
    store = replace(gcs, options=replace(gcs.options, kms_key=KEY)).store(bucket)
    await source.write("from", BODY, Attributes(), Checksums())
    await way(store, source)
    client = storage.Client(
        project="tests",
        credentials=AnonymousCredentials(),  # type: ignore[no-untyped-call]  # its package has no types
        client_options={"api_endpoint": gcs.options.endpoint},
    )
    blob = client.bucket(bucket).get_blob("k")
    assert (blob.kms_key_name, blob.download_as_bytes()) == (f"{KEY}/cryptoKeyVersions/1", BODY)
    client.close()
    await store.close()
    await source.close()
