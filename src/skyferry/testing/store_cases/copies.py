"""Copies that the provider makes by itself."""

from __future__ import annotations

from unittest import SkipTest

from skyferry.errors import ObjectNotFound, PreconditionFailed, Unsupported, VersionChanged
from skyferry.model import Attributes
from skyferry.ports import CopySource, Precondition
from skyferry.testing.store_cases.place import (
    Place,
    compute_digests,
    expect,
    expect_agreement,
    expect_error,
    make_noise,
)

OLD = Attributes(content_type="text/html", metadata={"of-the-source": "1"}, tags={"of-the-source": "1"})


def make_copy_source(place: Place, returned: frozenset[str]) -> CopySource:
    """The bucket as a source for itself."""
    if place.store.copy_source is None or not returned:
        raise SkipTest("the store has no such verb")
    return place.store.copy_source


class CopyCases:
    """`copy_from` and `copy_part`."""

    async def test_the_provider_copies(self, place: Place) -> None:
        """The bytes of the source, the attributes that are given and none of the source's; attested."""
        copy_source, returned = (
            make_copy_source(place, place.store.traits.copy_checksums),
            place.store.traits.copy_checksums,
        )
        for data in (b"", make_noise(5000)):
            await place.put("source", data, Attributes(OLD.content_type, metadata=OLD.metadata))
            found = await place.store.head(place.key("source"))
            made = await place.store.copy_from(copy_source, found, place.key("k"), place.attributes)
            got = await place.store.read(place.key("k"), 0, 5000, version=made.version)
            expect(got.data, data)
            expect((made.key, made.size, made.attributes), (place.key("k"), len(data), place.attributes))
            expect(got.meta.attributes, place.attributes)
            expect_agreement(made.checksums, compute_digests(data))
            assert all(getattr(made.checksums, n) for n in returned if getattr(found.checksums, n))

    async def test_no_attribute_of_the_source_is_left(self, place: Place) -> None:
        """Not its metadata, not its tags."""
        copy_source = make_copy_source(place, place.store.traits.copy_checksums)
        await place.put("source", b"x", place.attributes)
        found = await place.store.head(place.key("source"))
        await place.store.copy_from(copy_source, found, place.key("k"), Attributes(content_type="text/html"))
        expect((await place.store.head(place.key("k"))).attributes, Attributes(content_type="text/html"))

    async def test_awkward_keys_are_copied(self, place: Place) -> None:
        """Whatever has to be escaped on the way."""
        copy_source = make_copy_source(place, place.store.traits.copy_checksums)
        for key in ("a b+c%2Fd?e&f=g#h", "\u00fc/\U0001f680 \u2603", "//a//", "x" * (1000 - len(place.prefix))):
            await place.put(key, key.encode())
            found = await place.store.head(place.key(key))
            await place.store.copy_from(copy_source, found, place.key("k"), Attributes())
            expect(await place.get("k"), key.encode())

    async def test_a_copy_is_of_one_version(self, place: Place) -> None:
        """Another one in its place is refused (or the old one is still there to be copied), and the old object stays."""
        copy_source = make_copy_source(place, place.store.traits.copy_checksums)
        await place.put("source", b"one")
        found = await place.store.head(place.key("source"))
        for change in ("replaced", "deleted"):
            kept = await place.put("k", change.encode())
            await (place.put("source", b"two") if change == "replaced" else place.store.delete(place.key("source")))
            try:
                await place.store.copy_from(copy_source, found, place.key("k"), Attributes())
            except VersionChanged:
                expect((await place.store.head(place.key("k"))).version, kept.version)
            else:
                expect(await place.get("k"), b"one")

    async def test_copy_create_only(self, place: Place) -> None:
        """Refused where something is."""
        await self._conditional(place, Precondition(create_only=True), place.store.traits.create_only)

    async def test_copy_replace_exactly(self, place: Place) -> None:
        """Refused over another version."""
        old = await place.put("k", b"older")
        await self._conditional(place, Precondition(replace=old.version), place.store.traits.replace_exact)

    async def _conditional(self, place: Place, when: Precondition, honoured: bool) -> None:
        copy_source = make_copy_source(place, place.store.traits.copy_checksums)
        await place.put("source", b"new")
        found = await place.store.head(place.key("source"))
        kept = await place.put("k", b"kept")
        exact = honoured and place.store.traits.copy_exact
        with expect_error(PreconditionFailed if exact else Unsupported):
            await place.store.copy_from(copy_source, found, place.key("k"), Attributes(), when)
        expect((await place.store.head(place.key("k"))).version, kept.version)
        if exact and place.store.traits.replace_exact:
            again = Precondition(replace=kept.version)
            await place.store.copy_from(copy_source, found, place.key("k"), Attributes(), again)
            expect(await place.get("k"), b"new")
        if exact and place.store.traits.create_only:
            await place.store.copy_from(
                copy_source, found, place.key("fresh"), Attributes(), Precondition(create_only=True)
            )
            expect(await place.get("fresh"), b"new")

    async def test_the_provider_copies_parts(self, place: Place) -> None:
        """They make the object that the source is."""
        copy_source = make_copy_source(place, place.store.traits.part_copy_checksums)
        data = make_noise(2 * place.part_size + 1000)
        await place.put("source", data, OLD if place.attributes.tags else Attributes(metadata=OLD.metadata))
        found = await place.store.head(place.key("source"))
        upload = await place.start("k", data, place.attributes)
        parts = [await place.store.copy_part(upload, number, copy_source, found) for number in (3, 1, 2)]
        parts.sort(key=lambda part: part.number)
        size = place.part_size
        expect([(p.number, p.offset, p.size) for p in parts], [(1, 0, size), (2, size, size), (3, 2 * size, 1000)])
        made = await place.store.finish_upload(upload, parts, found.checksums)
        got = await place.store.read(place.key("k"), 0, len(data), version=made.version)
        expect(got.data, data)
        expect(got.meta.attributes, place.attributes)
        expect_agreement(made.checksums, compute_digests(data))
        declared = [n for n in place.store.traits.part_copy_checksums if getattr(found.checksums, n)]
        assert all(getattr(made.checksums, n) for n in declared)

    async def test_parts_are_of_one_version(self, place: Place) -> None:
        """One of another version is refused (or the old one is still there to be copied): nothing is mixed."""
        copy_source = make_copy_source(place, place.store.traits.part_copy_checksums)
        one, two = make_noise(2 * place.part_size, 1), make_noise(2 * place.part_size, 2)
        await place.put("source", one)
        found = await place.store.head(place.key("source"))
        upload = await place.start("k", one)
        parts = [await place.store.copy_part(upload, 1, copy_source, found)]
        await place.put("source", two)
        try:
            parts.append(await place.store.copy_part(upload, 2, copy_source, found))
        except VersionChanged:
            await place.store.abort_upload(upload)
            with expect_error(ObjectNotFound):
                await place.store.head(place.key("k"))
        else:
            await place.store.finish_upload(upload, parts, found.checksums)
            expect((await place.store.read(place.key("k"), 0, len(one))).data, one)
