"""The memory store keeps the contract, so it is a legitimate stand-in for any other."""

from __future__ import annotations

import pytest

from skyferry.clock import SystemClock
from skyferry.stores.memory import MemoryBucket, MemoryProvider, MemoryStore
from skyferry.testing.store import Place, StoreConformance

NOWHERE = MemoryBucket(exists=False)


def place_in(bucket: MemoryBucket, prefix: str = "") -> Place:
    """Two clients of the bucket, and one of none."""
    one, two, none = (MemoryStore(n, SystemClock(), b) for n, b in (("1", bucket), ("2", bucket), ("3", NOWHERE)))
    return Place(one, prefix, two, none)


class TestMemoryStore(StoreConformance):
    """The contract."""

    @pytest.fixture
    def place(self) -> Place:
        return place_in(MemoryBucket())


class TestMemoryStoreBelowAPrefix(StoreConformance):
    """The same, where only a part of the bucket is ours."""

    @pytest.fixture
    def place(self) -> Place:
        return place_in(MemoryBucket(), "scratch area/1/")


class TestVersionedMemoryStore(StoreConformance):
    """The same, where old versions are kept."""

    @pytest.fixture
    def place(self) -> Place:
        return place_in(MemoryBucket(versioned=True))


class TestMemoryStoresOfOneProvider(StoreConformance):
    """The same, where one bucket can be copied from into another without us."""

    @pytest.fixture
    def place(self) -> Place:
        return Place(MemoryStore("1", SystemClock(), provider=MemoryProvider()))


async def test_a_versioned_bucket_reads_old_versions_also_of_what_is_deleted() -> None:
    """As a pinned read of the source needs it."""
    place = place_in(MemoryBucket(versioned=True))
    old, new = await place.put("k", b"old"), await place.put("k", b"new")
    await place.store.delete("k")
    for meta, data in ((old, b"old"), (new, b"new")):
        assert (await place.store.read("k", 0, 9, version=meta.version)).data == data
    assert await place.keys() == []


async def test_positions_are_exact_generations() -> None:
    """They grow with every write, in all keys of a bucket, and compare as text."""
    place = place_in(MemoryBucket())
    positions = [(await place.put(f"k{n % 3}", b"x")).position for n in range(12)]
    assert all(p is not None and p.exact and p.scheme == "gcs-generation" for p in positions)
    assert positions == sorted(positions, key=lambda p: p.value if p else "")
    assert len(set(positions)) == 12
