"""Uploads that outlive the process which began them."""

from __future__ import annotations

from dataclasses import replace
from unittest import SkipTest

from skyferry.errors import UploadGone
from skyferry.ports import ObjectStore, Part
from skyferry.testing.store_cases.place import Place, compute_digests, expect, expect_agreement, make_noise, split_parts

SKEW = 300.0  # seconds that the provider's clock may differ from the local one


def make_body(place: Place) -> bytes:
    """Three parts, the last one smaller."""
    return make_noise(2 * place.part_size + 1000)


def get_successor(place: Place) -> ObjectStore:
    """Return the client that continues."""
    if not place.store.traits.resumable:
        raise SkipTest("an upload ends with its process")
    return place.other or place.store


class ResumeCases:
    """`uploaded_parts`, `uploads`, and continued uploads."""

    async def test_the_store_tells_which_parts_it_has(self, place: Place) -> None:
        """As they were sent, in order; unknown fields are empty."""
        other, data = get_successor(place), make_body(place)
        upload = await place.start("k", data, place.attributes)
        expect(await other.uploaded_parts(upload), [])
        sent: list[Part] = []
        for each in split_parts(upload, data):
            sent.append(await place.store.write_part(upload, *each))
            found = await other.uploaded_parts(upload)
            expect([(p.number, p.offset, p.size) for p in found], [(p.number, p.offset, p.size) for p in sent])
            for told, part in zip(found, sent, strict=True):
                assert told.tag in ("", part.tag)
                assert told.crc32c in ("", compute_digests(split_parts(upload, data)[part.number - 1][1]).crc32c)

    async def test_parts_may_be_missing_in_between(self, place: Place) -> None:
        """As after a crash while several were under way."""
        other, data = get_successor(place), make_body(place)
        if not place.store.traits.parallel_parts:
            raise SkipTest("parts go in order, one at a time")
        upload = await place.start("k", data)
        first, second, third = split_parts(upload, data)
        sent = {p.number: p for p in [await place.store.write_part(upload, *each) for each in (third, first)]}
        expect([p.number for p in await other.uploaded_parts(upload)], [1, 3])
        sent[2] = await other.write_part(upload, *second)
        await other.finish_upload(upload, [sent[n] for n in (1, 2, 3)], compute_digests(data))
        expect((await place.store.read(place.key("k"), 0, len(data))).data, data)

    async def test_going_on_sends_only_what_is_missing(self, place: Place) -> None:
        """Recorded parts and those that the store lists make the object, with the attributes of its start."""
        other, data = get_successor(place), make_body(place)
        upload = await place.start("k", data, place.attributes)
        first, second, third = split_parts(upload, data)
        noted = await place.store.write_part(upload, *first)
        await place.store.write_part(upload, *second)  # its answer is lost
        found = {p.number: p for p in await other.uploaded_parts(upload)}
        again = found[2] if found[2].tag and found[2].crc32c else None
        if again is None and not place.store.traits.parallel_parts:
            again = replace(found[2], crc32c=second[2])
        parts = [noted, again or await other.write_part(upload, *second), await other.write_part(upload, *third)]
        made = await other.finish_upload(upload, parts, compute_digests(data))
        got = await place.store.read(place.key("k"), 0, len(data), version=made.version)
        expect(got.data, data)
        expect(got.meta.attributes, place.attributes)
        expect_agreement(made.checksums, compute_digests(data))
        assert made.checksums.comparable_with(compute_digests(data))

    async def test_an_upload_that_is_over_has_no_parts(self, place: Place) -> None:
        """Finished or aborted: it is gone, or looks new where the provider cannot distinguish it."""
        other, data = get_successor(place), make_body(place)
        finished, aborted = await place.start("finished", data), await place.start("aborted", data)
        await place.send(aborted, data)
        await place.store.abort_upload(aborted)
        await place.store.finish_upload(finished, await place.send(finished, data), compute_digests(data))
        for upload in (finished, aborted):
            try:
                expect(await other.uploaded_parts(upload), [])
            except UploadGone:
                continue

    async def test_uploads_under_way_are_listed(self, place: Place) -> None:
        """Those of a prefix, from their beginning to their end, however they end."""
        if not place.store.traits.listed_uploads:
            raise SkipTest("the provider does not list them")
        data = make_body(place)
        begun = {key: await place.start(key, data) for key in ("a/+ \u00fc", "a/2", "a/3", "b")}
        await place.send(begun["a/+ \u00fc"], data)
        await place.store.abort_upload(begun.pop("a/2"))
        await place.store.finish_upload(begun["a/3"], await place.send(begun["a/3"], data), compute_digests(data))
        del begun["a/3"]
        for prefix in ("", "a/", "b", "c"):
            found = {u.id: u async for u in place.store.uploads(place.key(prefix))}
            expected = {u.id: u for key, u in begun.items() if key.startswith(prefix)}
            expect({u.id: u.key for u in found.values()}, {u.id: u.key for u in expected.values()}, prefix)
            assert all(abs(found[id_].started_at - u.started_at) < SKEW for id_, u in expected.items())
