"""Preconditions, deletes, and missing buckets."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from unittest import SkipTest

from skyferry.errors import BucketNotFound, ObjectNotFound, PreconditionFailed, SkyferryError, Unsupported
from skyferry.model import Attributes, ObjectMeta
from skyferry.ports import ObjectStore, Precondition
from skyferry.testing.store_cases.place import (
    Place,
    compute_digests,
    expect,
    expect_error,
    retry_unavailable,
    run_together,
)

CREATE = Precondition(create_only=True)


def get_clients(place: Place) -> Sequence[ObjectStore]:
    """Return two clients, the same one twice if the place has only one."""
    return [place.store, place.other or place.store]


async def race_writes(place: Place, when: Precondition, count: int) -> list[tuple[int, ObjectMeta]]:
    """Write `count` times at once under one precondition. Return the writes that succeeded; all others MUST be refused."""

    async def write(n: int) -> ObjectMeta | None:
        data = b"writer %d" % n
        try:
            store = get_clients(place)[n % 2]
            return await retry_unavailable(
                lambda: store.write(place.key("k"), data, Attributes(), compute_digests(data), when)
            )
        except PreconditionFailed:
            return None

    results = await run_together(*(write(n) for n in range(count)))
    return [(n, meta) for n, meta in enumerate(results) if meta is not None]


class ConditionCases:
    """`Precondition`, `delete`, BucketNotFound."""

    async def test_create_only(self, place: Place) -> None:
        """Writes where nothing is, and nowhere else."""
        if not place.store.traits.create_only:
            with expect_error(Unsupported):
                await place.put("k", b"1", when=CREATE)
            return
        first = await place.put("k", b"1", when=CREATE)
        with expect_error(PreconditionFailed):
            await place.put("k", b"2", when=CREATE)
        expect((await place.store.head(place.key("k"))).version, first.version)
        await place.store.delete(place.key("k"))
        await place.put("k", b"3", when=CREATE)
        expect(await place.get("k"), b"3")

    async def test_replace_exactly(self, place: Place) -> None:
        """Writes over the version named, and over no other, nor where nothing is."""
        old = await place.put("k", b"1")
        if not place.store.traits.replace_exact:
            with expect_error(Unsupported):
                await place.put("k", b"2", when=Precondition(replace=old.version))
            return
        new = await place.put("k", b"2", when=Precondition(replace=old.version))
        for key, version in (("k", old.version), ("absent", new.version)):
            with expect_error(PreconditionFailed, what=key):
                await place.put(key, b"3", when=Precondition(replace=version))
        expect(await place.get("k"), b"2")
        expect(await place.keys(), ["k"])

    async def test_of_many_that_create_one_wins(self, place: Place) -> None:
        """16 at once: one succeeds, all others are refused, and the content is the winner's."""
        if not place.store.traits.create_only:
            raise SkipTest("the store has no create_only")
        won = await race_writes(place, CREATE, 16)
        expect(len(won), 1, "writers that succeeded")
        expect(await place.get("k"), b"writer %d" % won[0][0])

    async def test_of_many_that_replace_one_wins(self, place: Place) -> None:
        """16 at once over the same version."""
        if not place.store.traits.replace_exact:
            raise SkipTest("the store has no replace_exact")
        old = await place.put("k", b"old")
        won = await race_writes(place, Precondition(replace=old.version), 16)
        expect(len(won), 1, "writers that succeeded")
        expect(await place.get("k"), b"writer %d" % won[0][0])
        expect((await place.store.head(place.key("k"))).version, won[0][1].version)

    async def test_no_replace_is_lost(self, place: Place) -> None:
        """8 clients add to a counter at the same time, each until it succeeds: no addition is lost."""
        if not place.store.traits.replace_exact:
            raise SkipTest("the store has no replace_exact")
        await place.put("k", b"0")

        async def add(store: ObjectStore) -> None:
            while True:
                got = await store.read(place.key("k"), 0, 100)
                data = b"%d" % (int(got.data) + 1)
                try:
                    when = Precondition(replace=got.meta.version)
                    await store.write(place.key("k"), data, Attributes(), compute_digests(data), when)
                except PreconditionFailed:
                    continue
                return

        await run_together(*(add(get_clients(place)[n % 2]) for n in range(8)))
        expect(await place.get("k"), b"8")

    async def test_delete(self, place: Place) -> None:
        """It is gone from head, read and list; a second delete is no error; it can be written again."""
        await place.put("a/b/k", b"x")
        await place.put("a/other", b"x")
        for _ in range(2):
            await place.store.delete(place.key("a/b/k"))
        await place.store.delete(place.key("never/was"))
        with expect_error(ObjectNotFound):
            await place.store.head(place.key("a/b/k"))
        with expect_error(ObjectNotFound):
            await place.store.read(place.key("a/b/k"), 0, 1)
        expect(await place.keys(), ["a/other"])
        await place.put("a/b", b"now a key")
        expect(await place.get("a/b"), b"now a key")

    async def test_delete_exactly(self, place: Place) -> None:
        """Deletes the version named and no other; an absent key has no version."""
        old = await place.put("k", b"1")
        if not (place.store.traits.delete_exact or (await place.store.head(place.key("k"))).kept):
            with expect_error(Unsupported):
                await place.store.delete(place.key("k"), Precondition(replace=old.version))
            return
        new = await place.put("k", b"2")
        for key, version in (("k", old.version), ("absent", new.version), ("k/below", new.version)):
            with expect_error(PreconditionFailed, what=key):
                await place.store.delete(place.key(key), Precondition(replace=version))
        expect(await place.get("k"), b"2")
        await place.store.delete(place.key("k"), Precondition(replace=new.version))
        expect(await place.keys(), [])

    async def test_writes_and_deletes_of_neighbours_do_not_disturb_each_other(self, place: Place) -> None:
        """In one folder, emptied again and again: every write succeeds and stays."""

        async def churn(n: int) -> None:
            for turn in range(12):
                await place.put(f"f/g/{n}", b"%d" % turn)
                expect(await place.get(f"f/g/{n}"), b"%d" % turn)
                await place.store.delete(place.key(f"f/g/{n}"))

        await run_together(*(churn(n) for n in range(8)))
        expect(await place.keys(), [])

    async def test_a_missing_bucket_is_no_missing_object(self, place: Place) -> None:
        """Every method raises BucketNotFound, so that missing objects are not mistaken for deletes."""
        if place.nowhere is None:
            raise SkipTest("no store on a missing bucket was given")
        store, key = place.nowhere, place.key("k")
        with expect_error(BucketNotFound):
            await store.head(key)
        for version in ("", "1"):
            with expect_error(BucketNotFound):
                await store.read(key, 0, 1, version=version)
        with expect_error(BucketNotFound):
            await store.write(key, b"x", Attributes(), compute_digests(b"x"))
        with expect_error(BucketNotFound):
            await store.delete(key)
        with expect_error(BucketNotFound):
            await store.start_upload(key, 1, place.part_size, Attributes())
        with expect_error(BucketNotFound):
            async for _ in store.list():
                raise AssertionError("a missing bucket lists something")

    async def test_close_may_be_called_twice(self, place: Place) -> None:
        """And does not wait for other clients. Later calls are refused or answered, but do not hang."""
        if place.other is None:
            raise SkipTest("no second client was given")
        await place.put("k", b"x")
        await place.other.head(place.key("k"))
        for _ in range(2):
            await place.other.close()
        async with asyncio.timeout(30):
            try:
                await place.other.head(place.key("k"))
            except SkyferryError:
                return
