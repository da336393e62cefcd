"""The store suite on Cloud Storage, as our fake has it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from skyferry.testing.servers.gcs import GcsPlace
from skyferry.testing.store import Place, StoreConformance
from skyferry.testing.store_cases.place import EVERYTHING

NAMELESS = "no object of Cloud Storage may be called so"
CANNOT_HOLD = dict.fromkeys((".", "..", "line\nbreak", "carriage\rreturn"), NAMELESS)


async def place_on(gcs: GcsPlace, bucket: str) -> AsyncIterator[Place]:
    """All of that bucket."""
    stores = [gcs.store(bucket), gcs.store(bucket), gcs.store("no-such-bucket-here")]
    carried = replace(EVERYTHING, tags={})
    yield Place(stores[0], other=stores[1], nowhere=stores[2], attributes=carried, cannot_hold=CANNOT_HOLD)
    for store in stores:
        await store.close()


class TestCloudStorage(StoreConformance):
    """A bucket as it is by default."""

    @pytest.fixture
    async def place(self, gcs: GcsPlace) -> AsyncIterator[Place]:
        async for place in place_on(gcs, await gcs.bucket()):
            yield place


class TestVersionedBucket(StoreConformance):
    """A bucket that keeps old generations."""

    @pytest.fixture
    async def place(self, gcs: GcsPlace) -> AsyncIterator[Place]:
        async for place in place_on(gcs, await gcs.bucket(versioned=True)):
            yield place
