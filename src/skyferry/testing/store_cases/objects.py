"""Reads and writes: whole, in ranges, one version at a time, with all attributes."""

from __future__ import annotations

import asyncio
import gc
import weakref
from dataclasses import replace
from functools import partial

from skyferry.errors import ChecksumMismatch, ObjectNotFound, VersionChanged
from skyferry.model import Attributes, Checksums
from skyferry.ports import ObjectData
from skyferry.testing.store_cases.place import (
    Place,
    compute_digests,
    expect,
    expect_agreement,
    expect_error,
    make_noise,
    retry_unavailable,
    select_checksum,
)


class ObjectCases:
    """`head`, `read` and `write`."""

    async def test_what_is_written_is_read(self, place: Place) -> None:
        """Bytes, size, version and times agree between write, head and read."""
        data = make_noise(5000)
        written = await place.put("k", data, place.attributes)
        got = await place.store.read(place.key("k"), 0, len(data))
        head = await place.store.head(place.key("k"))
        expect(got.data, data)
        expect(got.meta, head)
        expect((written.key, written.size), (place.key("k"), len(data)))
        expect((head.key, head.size, head.version), (written.key, written.size, written.version))
        assert head.version
        expect(head.position, written.position)

    async def test_an_empty_object_is_an_object(self, place: Place) -> None:
        """It is found, and reads as nothing."""
        written = await place.put("k", b"", place.attributes)
        got = await place.store.read(place.key("k"), 0, 100, version=written.version)
        expect((got.data, got.meta.size, written.size), (b"", 0, 0))
        expect(got.meta.attributes, place.attributes)

    async def test_what_an_object_carries_comes_back(self, place: Place) -> None:
        """Attributes, user metadata and tags, from write, head and read."""
        written = await place.put("k", b"x", place.attributes)
        expect(written.attributes, place.attributes)
        expect((await place.store.head(place.key("k"))).attributes, place.attributes)
        expect((await place.store.read(place.key("k"), 0, 1)).meta.attributes, place.attributes)

    async def test_the_error_of_an_absent_object_is_freed_at_once(self, place: Place) -> None:
        """A worker looks for each new object at the destination; a garbage collection stops all transfers meanwhile."""
        gc.disable()
        try:
            first, *_ = [await _find_absence(place) for _ in range(3)]  # a thread may keep the last one until the next
            expect(first(), None)
        finally:
            gc.enable()

    async def test_nothing_of_the_old_object_is_left_on_the_new(self, place: Place) -> None:
        """A write without attributes has none of those that were there before."""
        await place.put("k", b"old", place.attributes)
        await place.put("k", b"new", Attributes(content_type="text/html"))
        found = (await place.store.head(place.key("k"))).attributes
        expect(found, Attributes(content_type="text/html"))

    async def test_as_much_user_metadata_as_it_says(self, place: Place) -> None:
        """`traits.metadata_limit` bytes of keys and values come back; overwriting and deleting such an object works."""
        count, rest = divmod(place.store.traits.metadata_limit, 512)
        metadata = {f"m{n:03}": "v" * 508 for n in range(count)} | ({"r": "v" * (rest - 1)} if rest else {})
        for data in (b"1", b"22"):
            await place.put("k", data, Attributes(content_type="text/plain", metadata=metadata))
            expect((await place.store.head(place.key("k"))).attributes.metadata, metadata)
        await place.store.delete(place.key("k"))
        await place.put("k", b"1", Attributes(content_type="text/plain"))
        expect((await place.store.head(place.key("k"))).attributes.metadata, {})

    async def test_bytes_are_raw(self, place: Place) -> None:
        """A content encoding is kept, and the bytes are not decoded."""
        data = b"\x1f\x8b this is no gzip"
        await place.put("k", data, Attributes(content_type="text/plain", content_encoding="gzip"))
        expect(await place.get("k"), data)

    async def test_ranges(self, place: Place) -> None:
        """Exactly [start, min(start + length, size)); nothing at or past the end."""
        data = make_noise(1000)
        version = (await place.put("k", data)).version
        for start, length in (
            (0, 1000),
            (0, 1),
            (999, 1),
            (10, 20),
            (900, 500),
            (0, 0),
            (500, 0),
            (1000, 1),
            (5000, 9),
        ):
            for pin in ("", version):
                got = await place.store.read(place.key("k"), start, length, version=pin)
                expect(got.data, data[start : start + length], (start, length))
                expect((got.meta.size, got.meta.version), (1000, version))

    async def test_what_is_absent_is_not_found(self, place: Place) -> None:
        """By head and read; with a key below it, above it or beside it no less."""
        await place.put("a/b", b"x")
        for absent in ("absent", "a", "a/", "a/bb", "a/b/c", "A/b"):
            with expect_error(ObjectNotFound, what=absent):
                await place.store.head(place.key(absent))
            with expect_error(ObjectNotFound, what=absent):
                await place.store.read(place.key(absent), 0, 1)
        with expect_error(ObjectNotFound, VersionChanged):
            await place.store.read(place.key("absent"), 0, 1, version="1")

    async def test_a_new_content_is_a_new_version(self, place: Place) -> None:
        """Of the same size too; its position is no older."""
        versions, positions = set(), []
        for n in range(5):
            written = await place.put("k", b"%d" % n)
            versions.add(written.version)
            positions.append(written.position)
        expect(len(versions), 5)
        known = [p for p in positions if p is not None]
        expect([p.value for p in known], sorted(p.value for p in known))

    async def test_a_pinned_read_never_gives_another_version(self, place: Place) -> None:
        """The old bytes where the store keeps them, else VersionChanged; past the end too."""
        old = await place.put("k", b"old")
        await place.put("k", b"newer")
        for start in (0, 100):
            try:
                got = await place.store.read(place.key("k"), start, 10, version=old.version)
            except VersionChanged:
                continue
            expect((got.data, got.meta.size, got.meta.version), (b"old"[start:], 3, old.version))

    async def test_readers_see_one_version_whole(self, place: Place) -> None:
        """While it is overwritten, a read gives one content from end to end, with the meta of that content."""
        size, key = 300_000, place.key("k")
        await place.put("k", b"0" * size)
        done = asyncio.Event()

        async def write() -> None:
            for n in range(12):
                await place.put("k", bytes([48 + n % 10]) * (size + n))
            done.set()

        async def read() -> None:
            while not done.is_set():
                got = await retry_unavailable(lambda: place.store.read(key, 0, 2 * size))
                expect(set(got.data), {got.data[0]})
                expect(got.meta.size, len(got.data))
                expect_agreement(got.meta.checksums, compute_digests(got.data))

        async with asyncio.TaskGroup() as group:
            group.create_task(write())
            for _ in range(4):
                group.create_task(read())

    async def test_ranges_of_a_pinned_version_never_mix(self, place: Place) -> None:
        """While it is overwritten, all ranges that are read are of the version asked for."""
        size, key = 40_000, place.key("k")

        async def ranges(meta_size: int, version: str) -> list[ObjectData]:
            return [
                await retry_unavailable(partial(place.store.read, key, at, 10_000, version=version))
                for at in range(0, meta_size, 10_000)
            ]

        for n in range(6):
            written = await place.put("k", bytes([65 + n]) * size)
            reading = asyncio.create_task(ranges(size, written.version))
            await place.put("k", bytes([97 + n]) * size)
            try:
                got = await reading
            except VersionChanged:
                continue
            expect(b"".join(each.data for each in got), bytes([65 + n]) * size)

    async def test_what_it_attests_is_true(self, place: Place) -> None:
        """Every digest from write, head and read is that of the bytes; those of the traits are returned."""
        for data in (b"", b"x", make_noise(70_000)):
            written = await place.put("k", data)
            for meta in (written, await place.store.head(place.key("k"))):
                expect_agreement(meta.checksums, compute_digests(data))
            for name in place.store.traits.checksums_returned:
                expect(getattr(written.checksums, name), getattr(compute_digests(data), name))

    async def test_a_body_that_differs_is_refused(self, place: Place) -> None:
        """By each digest that the store returns; the old object stays, and no new one appears."""
        kept = await place.put("k", b"old")
        for name in sorted(place.store.traits.checksums_returned):
            wrong = select_checksum(name, compute_digests(b"other"))
            for key in ("k", "absent"):
                with expect_error(ChecksumMismatch, what=name):
                    await place.store.write(place.key(key), b"new", Attributes(), wrong)
        expect((await place.store.head(place.key("k"))).version, kept.version)
        expect(await place.keys(), ["k"])

    async def test_checksums_need_not_be_known(self, place: Place) -> None:
        """A write that declares none is taken, and attested all the same."""
        written = await place.store.write(place.key("k"), b"data", Attributes(), Checksums())
        expect(await place.get("k"), b"data")
        expect_agreement(replace(written.checksums), compute_digests(b"data"))


async def _find_absence(place: Place) -> weakref.ref[ObjectNotFound]:
    try:
        await place.store.head(place.key("k"))
    except ObjectNotFound as error:
        return weakref.ref(error)
    raise AssertionError("there is an object")
