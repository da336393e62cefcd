"""Multipart writes: parts in any order, invisible until finished, everything verified."""

from __future__ import annotations

from dataclasses import replace
from unittest import SkipTest

from skyferry.errors import ChecksumMismatch, ObjectNotFound, PreconditionFailed, SkyferryError, Unsupported
from skyferry.model import Checksums
from skyferry.ports import Precondition
from skyferry.testing.store_cases.place import (
    Place,
    compute_digests,
    expect,
    expect_agreement,
    expect_error,
    make_noise,
    run_together,
    split_parts,
)


def make_body(place: Place, seed: int = 0) -> bytes:
    """Three parts, the last one smaller."""
    return make_noise(2 * place.part_size + 1000, seed)


class UploadCases:
    """`start_upload`, `write_part`, `finish_upload`, `abort_upload`."""

    async def test_parts_become_one_object(self, place: Place) -> None:
        """Verified, with its attributes, and equal to one that was written whole."""
        data = make_body(place)
        upload = await place.start("k", data, place.attributes)
        parts = await place.send(upload, data)
        expect(
            [(p.number, p.offset, p.size) for p in parts],
            [(n, (n - 1) * upload.part_size, len(piece)) for n, piece, _ in split_parts(upload, data)],
        )
        made = await place.store.finish_upload(upload, parts, compute_digests(data))
        got = await place.store.read(place.key("k"), 0, len(data), version=made.version)
        expect(got.data, data)
        expect((got.meta.key, got.meta.size, got.meta.version), (place.key("k"), len(data), made.version))
        assert got.meta.attributes == made.attributes == place.attributes
        assert made.checksums.comparable_with(compute_digests(data))
        expect_agreement(made.checksums, compute_digests(data))

    async def test_nothing_is_seen_before_the_end(self, place: Place) -> None:
        """The old object, or none; not in a listing either."""
        data = make_body(place)
        old = await place.put("old", b"old")
        for key in ("old", "new"):
            await place.send(await place.start(key, data), data)
        expect((await place.store.head(place.key("old"))).version, old.version)
        with expect_error(ObjectNotFound):
            await place.store.head(place.key("new"))
        expect(await place.keys(), ["old"])

    async def test_parts_in_any_order_and_at_the_same_time(self, place: Place) -> None:
        """If the traits allow it; the number of a part decides its place."""
        if not place.store.traits.parallel_parts:
            raise SkipTest("parts go in order, one at a time")
        data = make_noise(5 * place.part_size + 1)
        upload = await place.start("k", data)
        todo = list(reversed(split_parts(upload, data)))
        parts = await run_together(*(place.store.write_part(upload, *each) for each in todo))
        await place.store.finish_upload(upload, parts, compute_digests(data))
        expect((await place.store.read(place.key("k"), 0, len(data))).data, data)

    async def test_of_a_repeated_part_the_last_counts(self, place: Place) -> None:
        """As when an answer was lost."""
        if not place.store.traits.parallel_parts:
            raise SkipTest("parts go in order, one at a time")
        data, other = make_body(place), make_body(place, 1)
        upload = await place.start("k", data)
        await place.send(upload, other)
        parts = await place.send(upload, data)
        await place.store.finish_upload(upload, parts, compute_digests(data))
        expect((await place.store.read(place.key("k"), 0, len(data))).data, data)

    async def test_another_client_goes_on(self, place: Place) -> None:
        """After a restart, the recorded upload and parts are enough to continue."""
        if place.other is None:
            raise SkipTest("no second client was given")
        data = make_body(place)
        upload = await place.start("k", data, place.attributes)
        first, *rest = split_parts(upload, data)
        parts = [await place.store.write_part(upload, *first)]
        parts += [await place.other.write_part(upload, *each) for each in rest]
        made = await place.other.finish_upload(upload, parts, compute_digests(data))
        expect((await place.store.read(place.key("k"), 0, len(data), version=made.version)).data, data)

    async def test_one_part_may_be_all(self, place: Place) -> None:
        """And be smaller than the smallest part."""
        upload = await place.start("k", b"small")
        await place.store.finish_upload(upload, await place.send(upload, b"small"), compute_digests(b"small"))
        expect(await place.get("k"), b"small")

    async def test_a_part_that_differs_is_refused(self, place: Place) -> None:
        """At once, or at the latest when the upload is finished; it can be sent again."""
        data = make_body(place)
        upload = await place.start("k", data)
        number, piece, crc = split_parts(upload, data)[0]
        if "crc32c" in place.store.traits.checksums_returned:
            with expect_error(ChecksumMismatch):
                await place.store.write_part(upload, number, piece[:-1] + bytes([piece[-1] ^ 1]), crc)
        await place.store.finish_upload(upload, await place.send(upload, data), compute_digests(data))
        expect((await place.store.read(place.key("k"), 0, len(data))).data, data)

    async def test_a_whole_that_differs_is_refused(self, place: Place) -> None:
        """Parts that are not those of the declared object; the old object stays."""
        if "crc32c" not in place.store.traits.checksums_returned:
            raise SkipTest("the store does not attest crc32c")
        kept = await place.put("k", b"old")
        data = make_body(place)
        upload = await place.start("k", data)
        parts = await place.send(upload, data)
        with expect_error(ChecksumMismatch):
            await place.store.finish_upload(upload, parts, Checksums(crc32c=compute_digests(b"other").crc32c))
        expect((await place.store.head(place.key("k"))).version, kept.version)
        await place.store.abort_upload(upload)

    async def test_a_missing_part_is_refused(self, place: Place) -> None:
        """Nothing appears under the key."""
        data = make_body(place)
        upload = await place.start("k", data)
        parts = await place.send(upload, data)
        for some in (parts[:-1], parts[1:], [parts[0], parts[2]]):
            with expect_error(SkyferryError):
                await place.store.finish_upload(upload, some, compute_digests(data))
        with expect_error(ObjectNotFound):
            await place.store.head(place.key("k"))

    async def test_an_upload_is_given_up(self, place: Place) -> None:
        """Aborting twice, or an unknown upload, is no error. Afterwards it accepts no part, and no object appears."""
        data = make_body(place)
        upload = await place.start("k", data)
        parts = await place.send(upload, data)
        for _ in range(2):
            await place.store.abort_upload(upload)
        await place.store.abort_upload(replace(upload, id="0" * 32))
        with expect_error(SkyferryError):
            await place.store.finish_upload(upload, parts, compute_digests(data))
        with expect_error(SkyferryError):
            await place.store.write_part(upload, *split_parts(upload, data)[0])
        expect(await place.keys(), [])

    async def test_uploads_of_one_key_do_not_disturb_each_other(self, place: Place) -> None:
        """The last one finished counts."""
        one, two = make_body(place, 1), make_body(place, 2)
        first, second = await place.start("k", one), await place.start("k", two)
        parts_two = await place.send(second, two)
        parts_one = await place.send(first, one)
        await place.store.finish_upload(first, parts_one, compute_digests(one))
        await place.store.finish_upload(second, parts_two, compute_digests(two))
        expect((await place.store.read(place.key("k"), 0, len(two))).data, two)

    async def test_finish_create_only(self, place: Place) -> None:
        """Refused where something is; the upload can still be finished otherwise."""
        await self._finish(place, Precondition(create_only=True), place.store.traits.create_only)

    async def test_finish_replace_exactly(self, place: Place) -> None:
        """Refused over another version; the upload can still be finished otherwise."""
        old = await place.put("k", b"older")
        await self._finish(place, Precondition(replace=old.version), place.store.traits.replace_exact)

    async def _finish(self, place: Place, when: Precondition, honoured: bool) -> None:
        data = make_body(place)
        kept = await place.put("k", b"old")
        upload = await place.start("k", data)
        parts = await place.send(upload, data)
        exact = honoured and place.store.traits.finish_exact
        with expect_error(PreconditionFailed if exact else Unsupported):
            await place.store.finish_upload(upload, parts, compute_digests(data), when)
        expect((await place.store.head(place.key("k"))).version, kept.version)
        again = Precondition(replace=kept.version) if exact and place.store.traits.replace_exact else Precondition()
        await place.store.finish_upload(upload, parts, compute_digests(data), again)
        expect((await place.store.read(place.key("k"), 0, len(data))).data, data)
