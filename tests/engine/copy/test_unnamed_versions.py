"""Stores that name no version of their objects, or say something else at each read."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.engine.copy.test_copier import PART, Bench

from skyferry.errors import ChecksumMismatch, Disposition, Unsupported, VersionChanged
from skyferry.model import Attributes, Checksums, ObjectMeta
from skyferry.ports import ObjectData
from skyferry.stores.memory import MemoryStore


class Unnamed(MemoryStore):
    """A store without versions in its answers."""

    async def read(self, *args: Any, **named: Any) -> ObjectData:
        got = await super().read(*args, **named)
        return replace(got, meta=replace(got.meta, version=""))


@pytest.mark.parametrize("size", [5, 3 * PART])
async def test_a_source_without_versions_is_refused_and_never_taken_for_unchanged(size: int) -> None:
    """Every overwritten object would look like the one that was copied, and parts of two of them would mix."""
    bench = Bench()
    await bench.put(bytes(size))
    first = await bench.run()
    bench.stores["s"] = Unnamed("s", bench.clock, bench.source.bucket)
    await bench.put(b"later")
    for placement in (None, replace(first.placement, source=replace(first.placement.source, version=""))):
        with pytest.raises(Unsupported, match=r"s k: the store names no version.*ETag") as refused:
            await bench.run(placement=placement)
        assert refused.value.disposition is Disposition.PERMANENT
    assert await bench.held() == bytes(size)


async def test_an_answer_to_a_write_that_names_no_version_deletes_nothing() -> None:
    """A proxy has answered instead of the store, which still has the object from before."""
    bench = Bench()
    await bench.destination.write("k", b"before", Attributes(), Checksums())
    before = await bench.destination.head("k")

    class Portal(MemoryStore):
        async def write(self, *args: Any) -> ObjectMeta:
            return ObjectMeta("k", 5, "", 0.0)

    await bench.put(b"hello")
    bench.stores["d"] = Portal("d", bench.clock, bench.destination.bucket)
    with pytest.raises(ChecksumMismatch, match="none was returned"):
        await bench.run()
    assert await bench.destination.head("k") == before


async def test_an_object_that_has_another_size_at_each_read_is_not_read_for_ever() -> None:
    class Shrinking(MemoryStore):
        async def read(self, *args: Any, **named: Any) -> ObjectData:
            got = await super().read(*args, **named)
            return replace(got, meta=replace(got.meta, size=len(got.data) - 1))

    bench = Bench()
    await bench.put(b"hello")
    bench.stores["s"] = Shrinking("s", bench.clock, bench.source.bucket)
    with pytest.raises(VersionChanged, match="another at each read"):
        await bench.run()
    assert bench.budget._used == 0


async def test_a_source_that_ends_earlier_than_it_said_leaves_no_shorter_object() -> None:
    """The parts would be proven one by one, and their source declares no digest of the whole."""

    class Cut(MemoryStore):
        async def read(self, key: str, start: int, length: int, *, version: str = "") -> ObjectData:
            got = await super().read(key, start, length, version=version)
            cut = got.data[:100] if start else got.data
            return ObjectData(replace(got.meta, checksums=Checksums(), attributes=Attributes()), cut)

    bench = Bench()
    await bench.put(bytes(3 * PART))
    bench.stores["s"] = Cut("s", bench.clock, bench.source.bucket)
    with pytest.raises(VersionChanged):
        await bench.run()
    assert not bench.destination.bucket.objects
    assert not bench.destination.bucket.uploads
