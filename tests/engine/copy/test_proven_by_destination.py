"""Objects of some size in one request: the destination compares them with the MD5 of the source, so none is computed here."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from tests.engine.copy.test_copier import PART, Bench

from skyferry.engine.copy import digests
from skyferry.engine.copy.strategy import PartLimits
from skyferry.errors import ChecksumMismatch, ObjectNotFound
from skyferry.model import Attributes, Checksums, ObjectMeta
from skyferry.ports import ANY, Done, ObjectData, Precondition
from skyferry.stores.memory import MemoryStore

DATA = random.Random(1).randbytes(digests.INLINE + 1)
Change = Callable[[bytes], bytes]


def md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


class Md5Store(MemoryStore):
    """A store that knows MD5s only, as S3 services without checksums do. A test changes what is read, sent or kept."""

    traits = replace(
        MemoryStore.traits,
        streamed_digests=frozenset({"md5"}),
        checksums_returned=frozenset({"md5"}),
        create_only=False,
    )
    read_as: Change = staticmethod(lambda data: data)
    keep_as: Change = staticmethod(lambda data: data)
    checks = True  # it compares a body with the declared MD5

    async def read(self, *args: Any, **kwargs: Any) -> ObjectData:
        got = await super().read(*args, **kwargs)
        return ObjectData(self._describe(got.meta), self.read_as(got.data))

    async def head(self, key: str) -> ObjectMeta:
        return self._describe(await super().head(key))

    async def write(
        self, key: str, data: bytes, attributes: Attributes, checksums: Checksums, when: Precondition = ANY
    ) -> ObjectMeta:
        if self.checks and checksums.md5 not in ("", md5(data)):
            raise ChecksumMismatch("the md5 is not that of the body", where=key)
        return self._describe(await super().write(key, self.keep_as(data), attributes, Checksums(), when))

    def _describe(self, meta: ObjectMeta) -> ObjectMeta:
        return replace(meta, checksums=Checksums(md5=md5(self.bucket.objects[meta.key][1])))


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    made.limits = PartLimits(8 * PART)
    made.source, made.destination = Md5Store("s", made.clock), Md5Store("d", made.clock)
    made.stores = {"s": made.source, "d": made.destination}
    yield made
    assert made.budget._used == 0, "all memory was given back"


@pytest.fixture
def source(bench: Bench) -> Md5Store:
    assert isinstance(bench.source, Md5Store)
    return bench.source


@pytest.fixture
def destination(bench: Bench) -> Md5Store:
    assert isinstance(bench.destination, Md5Store)
    return bench.destination


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The digests that were computed, in order."""
    seen: list[str] = []
    compute = digests.hash_bytes

    def watched(kind: str, data: bytes) -> str:
        seen.append(kind)
        return compute(kind, data)

    monkeypatch.setattr(digests, "hash_bytes", watched)
    return seen


async def test_nothing_is_hashed_that_the_destination_compares(bench: Bench, hashed: list[str]) -> None:
    await bench.put(DATA)
    outcome = await bench.run(size=len(DATA))
    assert isinstance(outcome, Done)
    assert await bench.held() == DATA
    assert outcome.receipt.declared.md5 == outcome.receipt.attested.md5 == md5(DATA)
    assert hashed == []


@pytest.mark.parametrize("size", [1, digests.INLINE])
async def test_a_small_object_is_hashed(bench: Bench, hashed: list[str], size: int) -> None:
    """That costs little, and its SHA-256 stays with the object."""
    await bench.put(DATA[:size])
    outcome = await bench.run(size=size)
    assert (outcome.receipt.computed.md5, sorted(hashed)) == (md5(DATA[:size]), ["md5", "sha256"])


@pytest.mark.parametrize("checks", [True, False])
async def test_a_bit_that_flips_while_it_is_read_is_found(
    bench: Bench, source: Md5Store, destination: Md5Store, checks: bool
) -> None:
    """By the destination, or by the MD5 that it returns; then what was written is deleted. Once more, it is found here."""
    await bench.put(DATA)
    source.read_as = lambda data: bytes([data[0] ^ 1]) + data[1:]
    destination.checks = checks
    with pytest.raises(ChecksumMismatch, match="of the body" if checks else "md5 of the object written"):
        await bench.run(size=len(DATA))
    with pytest.raises(ObjectNotFound):
        await bench.destination.head("k")
    with pytest.raises(ChecksumMismatch, match="md5 of the bytes read is not the one that the source store declares"):
        await bench.run(attempt=2, size=len(DATA))


async def test_a_bit_that_flips_at_the_destination_is_found(bench: Bench, destination: Md5Store) -> None:
    await bench.put(DATA)
    destination.keep_as = lambda data: data[:-1] + bytes([data[-1] ^ 1])
    with pytest.raises(ChecksumMismatch, match="md5 of the object written"):
        await bench.run(size=len(DATA))
    with pytest.raises(ObjectNotFound):
        await bench.destination.head("k")


async def test_an_event_with_another_kind_of_digest_is_compared_here(bench: Bench, hashed: list[str]) -> None:
    await bench.put(DATA)
    with pytest.raises(ChecksumMismatch, match="sha256 of the bytes read is not the one that the event declares"):
        await bench.run(size=len(DATA), checksums=Checksums(sha256="00" * 32))
    assert "sha256" in hashed
