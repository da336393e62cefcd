"""One attempt, on memory stores: what is written, what is refused, and what is proven."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from skyferry.engine.concurrency.transfer_slots import PrioritySemaphore, TransferSlot
from skyferry.engine.consume.attempt import Lease
from skyferry.engine.copy.copier import Attempt, Copier
from skyferry.engine.copy.digests import ThreadOffload
from skyferry.engine.copy.strategy import PartLimits
from skyferry.engine.resilience.circuit_breaker import Breaker, BreakerPolicy
from skyferry.engine.resilience.memory_budget import MemoryBudget, MemoryShare
from skyferry.engine.resilience.protection import Protection, protect_store
from skyferry.engine.resilience.retrying import RequestPolicy
from skyferry.errors import (
    ChecksumMismatch,
    Fenced,
    ObjectNotFound,
    PermissionDenied,
    PreconditionFailed,
    StoreError,
    StoreTimeout,
    Unsupported,
)
from skyferry.model import Attributes, Change, Checksums, Claim, ObjectMeta, ObjectRef, Placement, Provider, Transfer
from skyferry.ports import Done, ObjectData, ObjectStore, Skipped
from skyferry.records import Record
from skyferry.routing.routes import Route
from skyferry.stores.memory import MemoryStore
from skyferry.testing.clock import ManualClock

PART = 64 * 1024
ROUTE = Route(name="r", source_store="s", store="d", deletes="propagate", metadata={"team": "a"})
ATTRIBUTES = Attributes(content_type="text/plain", cache_control="no-cache", metadata={"colour": "blue"})


class Bench:
    """A source, a destination, and a copier between them."""

    def __init__(self, memory: int = 16 * PART, streamed: int = 0) -> None:
        self.limits = PartLimits(PART, 4, 1024, streamed=streamed)
        self.clock = ManualClock()
        self.source, self.destination = MemoryStore("s", self.clock), MemoryStore("d", self.clock)
        self.stores: dict[str, ObjectStore] = {"s": self.source, "d": self.destination}
        self.budget = MemoryBudget(memory)

    async def run(
        self, route: Route = ROUTE, placement: Placement | None = None, attempt: int = 1, **changes: Any
    ) -> Any:
        asked = replace(
            Transfer("t", "r", Change.CREATED, ObjectRef(Provider.MEMORY, "s", "k"), "s", "d", "k", "e", "c", 1.0),
            **changes,
        )
        copier = Copier(self.stores, self.budget, ThreadOffload(), self.clock, self.limits)
        with await TransferSlot.take(PrioritySemaphore(1), PrioritySemaphore(1), 0.0) as slot:
            return await copier.run(Attempt(Claim(asked, 1, attempt, 0, placement), slot), route)

    async def put(self, data: bytes) -> None:
        await self.source.write("k", data, ATTRIBUTES, Checksums())

    async def held(self) -> bytes:
        return (await self.destination.read("k", 0, 2**30)).data


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    assert made.budget._used == 0, "all memory was given back"


@pytest.mark.parametrize("size", [0, 1, 1024, 1025, PART, PART + 1, 5 * PART, 9 * PART + 7])
@pytest.mark.parametrize("sized", [True, False])
async def test_every_size_arrives_whole(bench: Bench, size: int, sized: bool) -> None:
    """With and without the size in the event: the bytes, the attributes, the digests and the provenance."""
    data = random.Random(size).randbytes(size)
    await bench.put(data)
    outcome = await bench.run(size=size if sized else None)
    assert isinstance(outcome, Done)
    assert await bench.held() == data
    # In parts only what proves the pair is computed.
    assert outcome.receipt.computed.sha256 == (hashlib.sha256(data).hexdigest() if size <= PART else "")
    assert outcome.receipt.computed.crc32c == outcome.receipt.attested.crc32c != ""
    there = (await bench.destination.head("k")).attributes
    assert (there.content_type, there.cache_control) == ("text/plain", "no-cache")
    assert there.metadata["colour"] == "blue"
    assert there.metadata["team"] == "a"
    assert there.metadata["skyferry-transfer"] == "t"
    assert not bench.destination.bucket.uploads


async def test_how_long_it_took_does_not_depend_on_a_clock_that_is_set(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bench.put(b"data")
    now, write = bench.clock.time(), bench.destination.write

    async def later(*args: Any) -> ObjectMeta:
        await bench.clock.advance(2.0)
        monkeypatch.setattr(bench.clock, "time", lambda: now - 3600.0)
        return await write(*args)

    monkeypatch.setattr(bench.destination, "write", later)
    receipt = (await bench.run()).receipt
    assert (receipt.started_at, receipt.finished_at) == (now - 3602.0, now - 3600.0)


async def test_memory_stays_within_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sixteen large objects at once need no more than one budget of four parts."""
    bench = Bench(memory=4 * PART)
    highest = 0
    use = bench.budget._use

    def watched(share: MemoryShare, change: int) -> None:
        nonlocal highest
        use(share, change)
        highest = max(highest, bench.budget._used)

    monkeypatch.setattr(bench.budget, "_use", watched)
    for i in range(16):
        await bench.source.write(f"k{i}", bytes(6 * PART + i), Attributes(), Checksums())
    source = ObjectRef(Provider.MEMORY, "s", "k")
    outcomes = await asyncio.gather(
        *(bench.run(id=f"t{i}", source=replace(source, key=f"k{i}"), key=f"k{i}") for i in range(16))
    )
    assert all(isinstance(o, Done) for o in outcomes)
    assert 2 * PART <= highest <= 4 * PART


async def test_an_event_that_declares_another_digest_is_refused(bench: Bench) -> None:
    """Nothing is written under the final key, small or large."""
    for size in (10, 3 * PART):
        await bench.put(bytes(size))
        with pytest.raises(ChecksumMismatch, match="the event"):
            await bench.run(checksums=Checksums(sha256="00" * 32))
        with pytest.raises(ObjectNotFound):
            await bench.destination.head("k")
        assert not bench.destination.bucket.uploads


class Lying(MemoryStore):
    """A store that keeps other bytes than it was given, and says so."""

    async def write(self, key: str, data: bytes, *args: Any) -> Any:
        return await super().write(key, data[:-1] + b"?", args[0], Checksums(), *args[2:])


async def test_a_destination_with_another_checksum_fails_the_copy(bench: Bench) -> None:
    """Its write is undone."""
    await bench.put(b"hello")
    bench.stores["d"] = Lying("d", bench.clock, bench.destination.bucket)
    with pytest.raises(ChecksumMismatch, match="of the object written"):
        await bench.run()
    with pytest.raises(ObjectNotFound):
        await bench.destination.head("k")


class Flipping(MemoryStore):
    """A store whose reads have one bit wrong."""

    async def read(self, *args: Any, **kwargs: Any) -> ObjectData:
        got = await super().read(*args, **kwargs)
        return replace(got, data=bytes([got.data[0] ^ 1]) + got.data[1:])


@pytest.mark.parametrize("size", [10, 3 * PART])
async def test_bytes_that_the_source_does_not_declare_are_refused(bench: Bench, size: int) -> None:
    """A flipped bit on the way in never reaches the destination's key."""
    await bench.put(bytes(size))
    bench.stores["s"] = Flipping("s", bench.clock, bench.source.bucket)
    with pytest.raises(ChecksumMismatch, match="the source store"):
        await bench.run()
    assert not bench.destination.bucket.objects


class DeclaringMd5(MemoryStore):
    """A store that declares the MD5 of its objects as well."""

    async def read(self, *args: Any, **kwargs: Any) -> ObjectData:
        got = await super().read(*args, **kwargs)
        md5 = hashlib.md5(self.bucket.objects["k"][1], usedforsecurity=False).hexdigest()
        return replace(got, meta=replace(got.meta, checksums=replace(got.meta.checksums, md5=md5)))


@pytest.mark.parametrize("size", [10, 3 * PART])
async def test_a_digest_of_the_event_is_compared_with_that_of_the_source(bench: Bench, size: int) -> None:
    """The bytes are proven by the source's CRC32C, so its MD5, and that of the event, need not be computed of them."""
    data = bytes(size)
    await bench.put(data)
    bench.stores["s"] = DeclaringMd5("s", bench.clock, bench.source.bucket)
    with pytest.raises(ChecksumMismatch, match="md5 of the source object is not the one that the event declares"):
        await bench.run(checksums=Checksums(md5="00" * 16))
    assert not bench.destination.bucket.objects
    outcome = await bench.run(checksums=Checksums(md5=hashlib.md5(data, usedforsecurity=False).hexdigest()))
    assert outcome.receipt.computed.md5 == ""
    assert outcome.receipt.computed.crc32c == outcome.receipt.attested.crc32c == outcome.receipt.declared.crc32c != ""


async def test_a_version_that_is_there_already_is_adopted(bench: Bench) -> None:
    """The ledger was lost. Provenance and digests prove the object at the destination, so nothing is written again."""
    await bench.put(b"hello")
    first = await bench.run()
    second = await bench.run(id="t2")
    assert second.receipt.destination_version == first.receipt.destination_version
    assert (first.found, second.found) == (False, True)


@pytest.mark.parametrize(("tries", "attempt"), [(2, 1), (1, 2)])
async def test_a_write_whose_response_was_lost_counts_as_one(bench: Bench, tries: int, attempt: int) -> None:
    """The object is there because an earlier try of the request, or an earlier attempt, has written it."""

    class Repeating(MemoryStore):
        async def write(self, *args: Any) -> ObjectMeta:
            try:
                return await super().write(*args)
            except PreconditionFailed as refused:
                refused.tries = tries  # as the decorator that retries sets it
                raise

    await bench.put(b"hello")
    await bench.run()
    bench.stores["d"] = Repeating("d", bench.clock, bench.destination.bucket)
    again = await bench.run(id="t2", attempt=attempt)
    assert isinstance(again, Done)
    assert not again.found


async def test_a_source_is_moved_only_after_the_copy(bench: Bench) -> None:
    """`after_copy: delete` deletes exactly the version that was copied."""
    await bench.put(b"hello")
    assert isinstance(await bench.run(route=replace(ROUTE, after_copy="delete", deletes="ignore")), Done)
    assert await bench.held() == b"hello"
    with pytest.raises(ObjectNotFound):
        await bench.source.head("k")


async def test_a_delete_takes_away_what_we_put_there(bench: Bench) -> None:
    """And nothing else: a foreign object under the same key stays."""
    await bench.put(b"hello")
    done = await bench.run()
    await bench.source.delete("k")
    removed = await bench.run(id="t2", change=Change.DELETED, placement=done.placement)
    assert removed.placement.deleted
    await bench.destination.write("k", b"foreign", Attributes(), Checksums())
    assert await bench.run(id="t3", change=Change.DELETED) == Skipped("foreign")
    assert await bench.held() == b"foreign"


async def test_a_delete_that_stood_still_leaves_a_newer_copy_alone(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It saw the source gone; before it looks at the destination, the object is back and another worker has copied it."""
    await bench.put(b"old")
    old = await bench.run()
    await bench.source.delete("k")
    head = bench.destination.head

    async def later(key: str) -> ObjectMeta:
        monkeypatch.undo()
        await bench.put(b"new")
        assert isinstance(await bench.run(placement=old.placement), Done)
        return await head(key)

    monkeypatch.setattr(bench.destination, "head", later)
    assert isinstance(await bench.run(change=Change.DELETED), Skipped)
    assert await bench.held() == b"new"


async def test_a_delete_event_whose_object_is_back_copies_it(bench: Bench) -> None:
    """The event is a hint, the source is the truth."""
    await bench.put(b"back again")
    assert isinstance(await bench.run(change=Change.DELETED), Done)
    assert await bench.held() == b"back again"


async def test_an_object_larger_than_memory_says_so() -> None:
    """A part that can never be held is a clear error with a hint, not a wait for ever."""
    bench = Bench(memory=PART // 2)
    await bench.put(bytes(3 * PART))
    with pytest.raises(Unsupported, match=r"limits\.memory"):
        await bench.run()


async def test_a_lost_claim_stops_before_the_next_effect(bench: Bench) -> None:
    """Once the lease has gone to another worker nothing more is written."""
    await bench.put(bytes(3 * PART))
    asked = Transfer("t", "r", Change.CREATED, ObjectRef(Provider.MEMORY, "s", "k"), "s", "d", "k", "e", "c", 1.0)
    copier = Copier(bench.stores, bench.budget, ThreadOffload(), bench.clock, PartLimits(PART, 4, 1024))
    with await TransferSlot.take(PrioritySemaphore(1), PrioritySemaphore(1), 0.0) as slot:
        attempt = Attempt(Claim(asked, 1, 1, 0, None), slot, lease=Lease(lost=True))
        with pytest.raises(Fenced):
            await copier.run(attempt, ROUTE)
    assert not bench.destination.bucket.objects
    assert not bench.destination.bucket.uploads


@pytest.mark.parametrize("now", ["same", "newer", "gone"])
@pytest.mark.parametrize("owner", ["unrecorded", "recorded", "of another transfer"])
async def test_an_aborted_write_that_took_effect_is_undone(bench: Bench, now: str, owner: str) -> None:
    """If the source has another version by then, or none; what the ledger has recorded, or another transfer wrote, stays."""
    asked = Transfer("t", "r", Change.CREATED, ObjectRef(Provider.MEMORY, "s", "k"), "s", "d", "k", "e", "c", 1.0)
    await bench.put(b"old")
    done = await bench.run(id="other" if owner == "of another transfer" else "t")
    if now == "newer":
        await bench.put(b"new")
    elif now == "gone":
        await bench.source.delete("k")
    copier = Copier(bench.stores, bench.budget, ThreadOffload(), bench.clock, PartLimits(PART, 4, 1024))
    await copier.undo_aborted(asked, done.placement if owner == "recorded" else None)
    assert ("k" in bench.destination.bucket.objects) is (now == "same" or owner != "unrecorded")


class Silence:
    """Nobody listens."""

    def on(self, record: Record) -> None:
        """Nothing."""


class Stalling(MemoryStore):
    """A store that never answers a read."""

    async def read(self, *args: Any, **kwargs: Any) -> ObjectData:
        await asyncio.Event().wait()
        raise AssertionError


async def test_a_store_that_stalls_is_a_timeout(bench: Bench) -> None:
    """Never a hang."""
    breaker = Breaker(BreakerPolicy(), bench.clock)
    policy = RequestPolicy(timeout=0.01, tries=1)
    protection = Protection(breaker, bench.clock, Silence(), random.Random(1), policy)
    bench.stores["s"] = protect_store(Stalling("s", bench.clock), protection)
    with pytest.raises(StoreTimeout):
        await bench.run()


@pytest.mark.parametrize("known", [True, False], ids=["in the ledger", "in no ledger"])
async def test_changed_attributes_arrive(bench: Bench, known: bool) -> None:
    """The copy gets all of them, in place if the ledger knows it. A second look finds nothing to do."""
    await bench.put(b"data")
    first = await bench.run()
    placed = first.placement if known else None
    before = await bench.destination.head("k")
    await bench.source.set_attributes(await bench.source.head("k"), Attributes(tags={"state": "final"}))
    outcome = await bench.run(placement=placed)
    there = await bench.destination.head("k")
    assert isinstance(outcome, Done)
    assert outcome.receipt.in_place is known
    assert (there.version == before.version) is known
    assert there.version == outcome.placement.version
    assert (there.attributes.tags, there.attributes.cache_control) == ({"state": "final"}, "")
    assert "colour" not in there.attributes.metadata
    assert await bench.run(placement=outcome.placement) == Skipped("current", outcome.placement.positions)


@pytest.mark.parametrize("refusal", [Unsupported, PermissionDenied])
async def test_what_cannot_be_changed_in_place_is_written_anew(bench: Bench, refusal: type[StoreError]) -> None:
    """The bytes are sent again, in place of the version that was found."""

    class Refusing(MemoryStore):
        async def set_attributes(self, found: ObjectMeta, attributes: Attributes) -> ObjectMeta:
            raise refusal

    await bench.put(b"data")
    first = await bench.run()
    bench.stores["d"] = Refusing("d", bench.clock, bench.destination.bucket)
    await bench.source.set_attributes(await bench.source.head("k"), Attributes(tags={"state": "final"}))
    outcome = await bench.run(placement=first.placement)
    assert isinstance(outcome, Done)
    assert not outcome.receipt.in_place
    assert (await bench.destination.head("k")).attributes.tags == {"state": "final"}


async def test_a_change_in_place_never_replaces_a_newer_one(bench: Bench) -> None:
    """Between the look and the change, another worker has changed them: it is looked at again."""

    class Late(MemoryStore):
        async def set_attributes(self, found: ObjectMeta, attributes: Attributes) -> ObjectMeta:
            bench.stores["d"] = bench.destination
            await bench.source.set_attributes(await bench.source.head("k"), Attributes(tags={"state": "newest"}))
            assert (await bench.run(placement=first.placement)).receipt.in_place
            return await super().set_attributes(found, attributes)

    await bench.put(b"data")
    first = await bench.run()
    bench.stores["d"] = Late("d", bench.clock, bench.destination.bucket)
    await bench.source.set_attributes(await bench.source.head("k"), Attributes(tags={"state": "old"}))
    outcome = await bench.run(placement=first.placement)
    assert isinstance(outcome, Skipped)
    assert (await bench.destination.head("k")).attributes.tags == {"state": "newest"}
