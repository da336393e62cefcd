"""Writes of one request whose body is not whole in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from unittest import SkipTest

from skyferry.bodies import BodyFailed, StreamedBody
from skyferry.errors import ChecksumMismatch, ConnectionLost, ObjectNotFound, PreconditionFailed
from skyferry.model import Attributes, Checksums, ObjectMeta
from skyferry.ports import ANY, Precondition
from skyferry.testing.store_cases.place import (
    BARE,
    Place,
    compute_digests,
    expect,
    expect_agreement,
    expect_error,
    make_noise,
    select_checksum,
)

SIZE, PIECE = 700_000, 200_000  # bytes; larger than what an HTTP client sends at once


def make_stream(data: bytes, broken: bool = False) -> StreamedBody:
    """Return a body of a few pieces; a broken one fails after two."""

    async def pieces() -> AsyncIterator[bytes]:
        for at in range(0, len(data), PIECE):
            if broken and at == 2 * PIECE:
                raise BodyFailed from ConnectionLost()
            yield data[at : at + PIECE]

    return StreamedBody(len(data), pieces)


async def write_stream(
    place: Place, key: str, data: bytes, digests: Checksums, attributes: Attributes = BARE, when: Precondition = ANY
) -> ObjectMeta:
    """Write in one request. SkipTest: the store checks no digest of a stream."""
    return await place.store.write_stream(place.key(key), make_stream(data), attributes, digests, when)


def list_streamed(place: Place) -> list[str]:
    """Return the digests that the store checks. SkipTest: none."""
    kinds = sorted(place.store.traits.streamed_digests)
    if not kinds:
        raise SkipTest("the store checks no digest of a stream")
    return kinds


class StreamCases:
    """`write_stream`."""

    async def test_a_stream_becomes_an_object(self, place: Place) -> None:
        """With its attributes, and with any one of the digests that the store checks, which it returns."""
        data = make_noise(SIZE)
        for kind in list_streamed(place):
            digest = select_checksum(kind, compute_digests(data))
            made = await write_stream(place, kind, data, digest, place.attributes)
            got = await place.store.read(place.key(kind), 0, SIZE, version=made.version)
            expect(got.data, data)
            assert got.meta.attributes == made.attributes == place.attributes
            assert made.checksums.comparable_with(digest)
            expect_agreement(made.checksums, compute_digests(data))

    async def test_a_stream_of_other_bytes_is_refused(self, place: Place) -> None:
        """Whichever digest is checked; the old object stays."""
        data = make_noise(SIZE)
        for kind in list_streamed(place):
            old = await place.put(kind, b"old")
            wrong = select_checksum(kind, compute_digests(make_noise(SIZE, 1)))
            with expect_error(ChecksumMismatch, what=kind):
                await write_stream(place, kind, data, wrong)
            expect((await place.store.head(place.key(kind))).version, old.version)

    async def test_a_stream_that_breaks_leaves_nothing(self, place: Place) -> None:
        """Its error passes unchanged, and the store works on."""
        data = make_noise(SIZE)
        digest = select_checksum(list_streamed(place)[0], compute_digests(data))
        try:
            await place.store.write_stream(place.key("k"), make_stream(data, broken=True), BARE, digest)
        except BodyFailed as failed:
            expect(type(failed.__cause__), ConnectionLost)
        else:
            raise AssertionError("expected BodyFailed, but the store accepted a part of the body")
        with expect_error(ObjectNotFound):
            await place.store.head(place.key("k"))
        await write_stream(place, "k", data, digest)

    async def test_a_stream_keeps_its_precondition(self, place: Place) -> None:
        """As a write does."""
        data = make_noise(SIZE)
        digest = select_checksum(list_streamed(place)[0], compute_digests(data))
        old = await place.put("k", b"old")
        if place.store.traits.create_only:
            with expect_error(PreconditionFailed):
                await write_stream(place, "k", data, digest, when=Precondition(create_only=True))
            expect((await place.store.head(place.key("k"))).version, old.version)
        if place.store.traits.replace_exact:
            await write_stream(place, "k", data, digest, when=Precondition(replace=old.version))
            with expect_error(PreconditionFailed):
                await write_stream(place, "k", data, digest, when=Precondition(replace=old.version))
