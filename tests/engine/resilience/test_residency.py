"""Nothing is written to a bucket that is in another region than its routes allow."""

from __future__ import annotations

from dataclasses import replace

import pytest

from skyferry.engine.resilience.residency import AGAIN, ResidencyStore, ensure_regions
from skyferry.errors import RegionNotAllowed, StoreUnavailable
from skyferry.model import Attributes, Checksums
from skyferry.ports.inspection import BucketFacts, Unknown
from skyferry.records import Record
from skyferry.stores.memory import MemoryStore
from skyferry.testing.clock import ManualClock

FACTS = BucketFacts("memory", "me", "eu-west-1", "off", "none", (), 0.0, frozenset())


class Somewhere(MemoryStore):
    """A bucket that reports a region."""

    region: str | Unknown = "eu-west-1"
    asked = 0
    up = True

    async def inspect(self) -> BucketFacts:
        self.asked += 1
        if not self.up:
            raise StoreUnavailable
        return replace(FACTS, region=self.region)


class Scene:
    """One guarded store."""

    def __init__(self) -> None:
        self.clock, self.heard = ManualClock(), list[Record]()
        self.bucket = Somewhere("copy", self.clock)
        self.store = ResidencyStore(self.bucket, lambda region: region.startswith("eu-"), "eu-*", self.clock, self)

    def on(self, record: Record) -> None:
        self.heard.append(record)

    async def write(self) -> None:
        await self.store.write("k", b"x", Attributes(), Checksums())


async def test_an_allowed_region_is_asked_for_once() -> None:
    scene = Scene()
    for _ in range(3):
        await scene.write()
    assert (scene.bucket.asked, scene.heard) == (1, [])


async def test_a_bucket_elsewhere_gets_nothing_and_reads_go_on() -> None:
    """After ten minutes it is asked again, and a corrected bucket takes the work."""
    scene = Scene()
    await scene.write()
    scene.bucket.region = "us-east-1"
    await scene.clock.advance(AGAIN)
    for _ in range(2):
        with pytest.raises(RegionNotAllowed, match=r"us-east-1, but copies may be in eu-\* only"):
            await scene.store.delete("k")
    assert (await scene.store.head("k")).size == 1
    assert scene.bucket.asked == 2
    scene.bucket.region = "eu-central-1"
    await scene.clock.advance(AGAIN)
    await scene.write()


async def test_an_unknown_region_is_reported_once_and_the_configured_one_counts() -> None:
    scene = Scene()
    scene.bucket.region = Unknown("not permitted (storage.buckets.get)")
    await scene.write()
    await scene.clock.advance(AGAIN)
    await scene.write()
    assert [(r.event, r.store) for r in scene.heard] == [("store.region_unknown", "copy")]
    assert "storage.buckets.get" in scene.heard[0].message


async def test_an_unreachable_bucket_is_asked_before_its_first_write() -> None:
    """The start does not wait for it; the write fails as an outage until the region is known."""
    scene = Scene()
    scene.bucket.up = False
    await ensure_regions([scene.store])
    with pytest.raises(StoreUnavailable):
        await scene.write()
    scene.bucket.up, scene.bucket.region = True, "us-east-1"
    with pytest.raises(RegionNotAllowed):
        await scene.write()
    with pytest.raises(RegionNotAllowed):
        await ensure_regions([scene.store])
    assert scene.bucket.bucket.objects == {}
