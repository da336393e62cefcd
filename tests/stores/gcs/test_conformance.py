"""The store suite on Cloud Storage, as our fake has it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import ClassVar

import pytest

from skyferry.testing.servers.gcs import GcsPlace
from skyferry.testing.store import Place, StoreConformance
from skyferry.testing.store_cases.place import EVERYTHING

NAMELESS = "no object of Cloud Storage may be called so"
CANNOT_HOLD = dict.fromkeys((".", "..", "line\nbreak", "carriage\rreturn"), NAMELESS)


def resumable(gcs: GcsPlace) -> GcsPlace:
    """The same with resumable uploads."""
    return replace(gcs, options=replace(gcs.options, uploads="resumable"))


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


RESUMABLE = {
    "test_the_store_tells_which_parts_it_has": "the end of the last part is held back: with it the object appears",
    "test_a_part_that_differs_is_refused": "only the whole is proven, when it is finished",
    "test_uploads_of_one_key_do_not_disturb_each_other": "a session holds to the version that it was begun over",
    "test_uploads_under_way_are_listed": "Cloud Storage does not list sessions",
}


class TestResumableUploads(StoreConformance):
    """`large_upload_mode: resumable`."""

    deviations: ClassVar = RESUMABLE

    @pytest.fixture
    async def place(self, gcs: GcsPlace) -> AsyncIterator[Place]:
        async for place in place_on(resumable(gcs), await gcs.bucket()):
            yield place


class TestResumableUploadsToAVersionedBucket(StoreConformance):
    """Both."""

    deviations: ClassVar = RESUMABLE

    @pytest.fixture
    async def place(self, gcs: GcsPlace) -> AsyncIterator[Place]:
        async for place in place_on(resumable(gcs), await gcs.bucket(versioned=True)):
            yield place
