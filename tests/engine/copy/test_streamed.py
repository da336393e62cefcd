"""Objects of middle size, written in one request whose digest the destination checks."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from tests.engine.copy.test_copier import PART, Bench

from skyferry.bodies import StreamedBody
from skyferry.engine.copy.strategy import CopyStrategy, PartLimits, choose_sent
from skyferry.errors import ChecksumMismatch, ConnectionLost, ObjectNotFound, StoreUnavailable, VersionChanged
from skyferry.model import Checksums, ObjectMeta, Traits
from skyferry.ports import Done, ObjectData, Skipped

DATA = random.Random(1).randbytes(3 * PART + 7)
BLIND = Traits(create_only=False, replace_exact=False, delete_exact=False, streamed_digests=frozenset({"crc32c"}))


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench(streamed=8 * PART)
    yield made
    assert made.budget._used == 0, "all memory was given back"


def watch(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list of the sizes that are written as streams."""
    sizes: list[int] = []
    write = bench.destination.write_stream

    async def watched(key: str, body: StreamedBody, *rest: Any) -> ObjectMeta:
        sizes.append(body.size)
        return await write(key, body, *rest)

    monkeypatch.setattr(bench.destination, "write_stream", watched)
    return sizes


async def test_an_object_of_middle_size_is_one_request(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its bytes, attributes and digests are those of a copy in parts."""
    sizes = watch(bench, monkeypatch)
    await bench.put(DATA)
    outcome = await bench.run()
    assert isinstance(outcome, Done)
    assert sizes == [len(DATA)]
    assert await bench.held() == DATA
    assert outcome.receipt.computed.crc32c == outcome.receipt.attested.crc32c == outcome.receipt.declared.crc32c != ""
    there = (await bench.destination.head("k")).attributes
    assert (there.content_type, there.metadata["skyferry-transfer"]) == ("text/plain", "t")


async def test_no_more_than_a_part_is_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A budget of one part is enough."""
    bench = Bench(memory=PART, streamed=8 * PART)
    sizes = watch(bench, monkeypatch)
    read, pieces = bench.source.read, []

    async def watched(key: str, start: int, length: int, *, version: str = "") -> ObjectData:
        pieces.append(length)
        return await read(key, start, length, version=version)

    monkeypatch.setattr(bench.source, "read", watched)
    await bench.put(DATA)
    assert isinstance(await bench.run(), Done)
    assert sizes == [len(DATA)]
    assert max(pieces[1:]) == PART // 2


@pytest.mark.parametrize(
    ("attempt", "size", "declared", "event", "checked"),
    [
        (2, 100, Checksums(crc32c="1"), Checksums(), {"crc32c"}),
        (1, 1001, Checksums(crc32c="1"), Checksums(), {"crc32c"}),
        (1, 100, Checksums(md5="1"), Checksums(), {"crc32c"}),
        (1, 100, Checksums(), Checksums(), {"crc32c"}),
        (1, 100, Checksums(crc32c="1"), Checksums(), set[str]()),
        (1, 100, Checksums(crc32c="1"), Checksums(sha256="1"), {"crc32c"}),
    ],
    ids=[
        "second attempt",
        "too large",
        "digest not checked",
        "nothing declared",
        "nothing checked",
        "event not compared",
    ],
)
def test_what_is_not_proven_goes_in_parts(
    attempt: int, size: int, declared: Checksums, event: Checksums, checked: set[str]
) -> None:
    """And what can be proven by one request is streamed."""
    limits, traits = PartLimits(10, streamed=1000), Traits(streamed_digests=frozenset(checked))
    meta = ObjectMeta("k", size, "1", 0.0, None, declared)
    assert choose_sent(traits, meta, event, attempt, limits) is CopyStrategy.MULTIPART
    good = choose_sent(
        Traits(streamed_digests=frozenset({"crc32c"})),
        replace(meta, size=1000, checksums=Checksums(crc32c="1")),
        Checksums(crc32c="1"),
        1,
        limits,
    )
    assert good is CopyStrategy.STREAMED


@pytest.mark.parametrize(
    ("attempt", "size", "md5", "strategy"),
    [
        (1, 5000, "1", CopyStrategy.STREAMED),
        (1, 5001, "1", CopyStrategy.MULTIPART),  # no single request is that large
        (2, 5000, "1", CopyStrategy.MULTIPART),  # it can be resumed
        (1, 5000, "", CopyStrategy.MULTIPART),  # nothing could be checked
    ],
)
def test_a_server_that_keeps_parts_in_memory_gets_one_request(
    attempt: int, size: int, md5: str, strategy: CopyStrategy
) -> None:
    """The destination checks that request, whatever its size."""
    traits = Traits(streamed_digests=frozenset({"md5"}), single_put_limit=5000, parts_in_memory=True)
    meta = ObjectMeta("k", size, "1", 0.0, None, Checksums(md5=md5))
    assert choose_sent(traits, meta, Checksums(), attempt, PartLimits(10, streamed=1000)) is strategy


async def test_a_flipped_bit_is_refused_by_the_destination(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The old object stays."""
    sizes = watch(bench, monkeypatch)
    read = bench.source.read

    async def flipped(key: str, start: int, length: int, *, version: str = "") -> ObjectData:
        got = await read(key, start, length, version=version)
        return replace(got, data=bytes([got.data[0] ^ 1]) + got.data[1:]) if version and start else got

    monkeypatch.setattr(bench.source, "read", flipped)
    await bench.put(DATA)
    with pytest.raises(ChecksumMismatch):
        await bench.run()
    assert sizes
    with pytest.raises(ObjectNotFound):
        await bench.destination.head("k")


@pytest.mark.parametrize("error", [ConnectionLost, VersionChanged, StoreUnavailable])
async def test_an_error_of_the_source_stays_one(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    """It comes out of the write as it is, so no breaker of the destination counts it."""
    sizes = watch(bench, monkeypatch)
    read = bench.source.read

    async def broken(key: str, start: int, length: int, *, version: str = "") -> ObjectData:
        if start >= 2 * PART:
            raise error
        return await read(key, start, length, version=version)

    monkeypatch.setattr(bench.source, "read", broken)
    await bench.put(DATA)
    with pytest.raises(error):
        await bench.run()
    assert sizes
    with pytest.raises(ObjectNotFound):
        await bench.destination.head("k")


async def test_a_request_that_is_sent_again_starts_anew(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the retries within one attempt do."""
    write = bench.destination.write_stream

    async def twice(key: str, body: StreamedBody, *rest: Any) -> ObjectMeta:
        first = body.pieces()
        await anext(first)
        return await write(key, body, *rest)

    monkeypatch.setattr(bench.destination, "write_stream", twice)
    await bench.put(DATA)
    assert isinstance(await bench.run(), Done)
    assert await bench.held() == DATA


async def test_a_destination_without_preconditions_is_looked_at_before_the_last_piece(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A newer copy that appears while the bytes are sent is not overwritten."""
    monkeypatch.setattr(bench.destination, "traits", BLIND)
    sizes = watch(bench, monkeypatch)
    bench.source.bucket.versioned = True  # the older version can still be read
    read = bench.source.read
    overtaken: list[bool] = []

    async def overtake(key: str, start: int, length: int, *, version: str = "") -> ObjectData:
        if start >= 2 * PART and not overtaken:
            overtaken.append(True)
            await bench.put(b"newer")
            assert isinstance(await bench.run(id="newer"), Done)
        return await read(key, start, length, version=version)

    monkeypatch.setattr(bench.source, "read", overtake)
    await bench.put(DATA)
    assert isinstance(await bench.run(id="older"), Skipped)
    assert sizes == [len(DATA)]
    assert await bench.held() == b"newer"


async def test_a_dropped_precondition_is_replaced_by_a_look(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A destination that knows how to create, but not how to replace, refuses the first request; the second is unconditional."""
    monkeypatch.setattr(bench.destination, "traits", replace(BLIND, create_only=True))
    sizes = watch(bench, monkeypatch)
    bench.source.bucket.versioned = True
    await bench.put(b"first")
    assert isinstance(await bench.run(id="first"), Done)
    read = bench.source.read
    ends: list[int] = []

    async def overtake(key: str, start: int, length: int, *, version: str = "") -> ObjectData:
        if start >= 3 * PART:
            ends.append(start)
            if len(ends) == 2:
                await bench.put(b"newer")
                assert isinstance(await bench.run(id="newer"), Done)
        return await read(key, start, length, version=version)

    monkeypatch.setattr(bench.source, "read", overtake)
    await bench.put(DATA)
    assert isinstance(await bench.run(id="older"), Skipped)
    assert sizes == [len(DATA)] * 2
    assert await bench.held() == b"newer"
