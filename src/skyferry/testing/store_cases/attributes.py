"""Attributes that change without the content."""

from __future__ import annotations

from unittest import SkipTest

from skyferry.errors import PreconditionFailed
from skyferry.model import Attributes
from skyferry.testing.store_cases.place import Place, expect, expect_agreement, expect_error, make_noise

OLD = Attributes(content_type="text/html", cache_control="no-store", metadata={"old": "1"})


def require_changes(place: Place) -> None:
    """Skip the case if the store writes objects anew instead."""
    if not place.store.traits.in_place:
        raise SkipTest("the store cannot change attributes in place")


class AttributeCases:
    """`set_attributes`."""

    async def test_attributes_are_replaced_in_place(self, place: Place) -> None:
        """All of them, those that are not given too; bytes, size and checksums stay."""
        require_changes(place)
        for data in (b"", make_noise(5000)):
            await place.put("k", data, OLD)
            found = await place.store.head(place.key("k"))
            made = await place.store.set_attributes(found, place.attributes)
            there = await place.store.head(place.key("k"))
            expect((made.key, made.size, made.version), (there.key, len(data), there.version))
            assert made.attributes == there.attributes == place.attributes
            expect_agreement(there.checksums, found.checksums)
            assert there.checksums.comparable_with(found.checksums) or not found.checksums.md5
            expect(await place.get("k"), data)
            bare = await place.store.set_attributes(there, Attributes(content_type="text/plain"))
            expect((await place.store.head(place.key("k"))).attributes, Attributes(content_type="text/plain"))
            expect(await place.get("k"), data)
            expect((await place.store.read(place.key("k"), 0, 1, version=bare.version)).data, data[:1])

    async def test_a_change_in_place_demands_the_version_found(self, place: Place) -> None:
        """Other content, or none, raises PreconditionFailed, and nothing changes."""
        require_changes(place)
        await place.put("k", b"old", OLD)
        found = await place.store.head(place.key("k"))
        await place.put("k", b"newer", OLD)
        with expect_error(PreconditionFailed):
            await place.store.set_attributes(found, place.attributes)
        expect((await place.store.head(place.key("k"))).attributes, OLD)
        newer = await place.store.head(place.key("k"))
        await place.store.delete(place.key("k"))
        with expect_error(PreconditionFailed):
            await place.store.set_attributes(newer, place.attributes)
