"""The engine on real S3 servers: a large copy that is cut off and goes on, and copies that S3 makes by itself."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from skyferry.clock import SystemClock
from skyferry.engine.abandoned_uploads import abort_abandoned_uploads
from skyferry.engine.concurrency.transfer_slots import PrioritySemaphore, TransferSlot
from skyferry.engine.consume.attempt import OpenUploads
from skyferry.engine.copy.copier import Attempt, Copier
from skyferry.engine.copy.digests import ThreadOffload
from skyferry.engine.copy.strategy import PartLimits
from skyferry.engine.resilience.memory_budget import MemoryBudget
from skyferry.errors import ConnectionLost
from skyferry.ledgers.memory.ledger import MemoryLedger
from skyferry.model import Attributes, Change, Checksums, Claim, ObjectRef, Provider, Transfer
from skyferry.ports import Done, ObjectStore, Released, Settlement, Skipped
from skyferry.routing.routes import Route
from skyferry.stores.s3.services import VERSIONED
from skyferry.testing.servers.s3 import S3Place
from skyferry.testing.store_cases.place import EVERYTHING, compute_digests

MIB = 2**20
UNREADABLE = -1
DATA = random.Random(1).randbytes(18 * MIB + 5)
ROUTE = Route(name="r", source_store="s", store="d", deletes="propagate")
TRANSFER = Transfer(
    "t", "r", Change.CREATED, ObjectRef(Provider.AWS_S3, "s", "k"), "s", "d", "k+ \u00fc", "e", "c", 1.0
)


class Cut:
    """A store whose line is cut after so many parts; it counts them."""

    def __init__(self, inner: ObjectStore, parts: int = 1000) -> None:
        self._inner, self._left, self.sent = inner, parts, 0

    def __getattr__(self, name: str) -> Any:
        inner = getattr(self._inner, name)
        assert name != "read" or self._left != UNREADABLE
        if name not in ("write_part", "copy_part"):
            return inner

        async def call(*args: Any) -> Any:
            if self.sent >= self._left:
                raise ConnectionLost
            self.sent += 1
            return await inner(*args)

        return call


class Bench:
    """Two buckets of one server and a ledger."""

    def __init__(self, source: Any, destination: ObjectStore) -> None:
        self.source, self.destination, self.clock = source, destination, SystemClock()
        self.ledger = MemoryLedger("one", self.clock)

    async def run(self, destination: Any, **changes: Any) -> Any:
        (claim,) = await self.ledger.claim([replace(TRANSFER, **changes)])
        assert isinstance(claim, Claim)
        uploads = OpenUploads()
        uploads.merge(claim.uploads)

        async def save(what: Any) -> bool:
            (held,) = await self.ledger.save_progress([what])
            return held

        stores = {"s": self.source, "d": destination}
        limits = PartLimits(5 * MIB, 1, 1000, copied=5 * MIB)
        copier = Copier(stores, MemoryBudget(64 * MIB), ThreadOffload(), self.clock, limits)
        try:
            with await TransferSlot.take(PrioritySemaphore(1), PrioritySemaphore(1), 0.0) as slot:
                outcome: Any = await copier.run(Attempt(claim, slot, uploads, save), ROUTE)
        except ConnectionLost:
            outcome = Released(0.0)
        await self.ledger.settle([Settlement(claim, outcome, closed=tuple(uploads.closed))])
        return outcome


@pytest.fixture
async def bench(s3: S3Place) -> AsyncIterator[Bench]:
    stores = [s3.store(await s3.bucket()) for _ in "sd"]
    yield Bench(*stores)
    for store in stores:
        await store.close()


async def test_a_copy_that_was_cut_off_sends_only_the_rest(bench: Bench) -> None:
    """Two parts of four before, two after; through us or by S3 itself, whole, with what it carries, and nothing left."""
    await bench.source.write("k", DATA, Attributes("text/x", metadata={"a": "b"}), Checksums())
    first, second = Cut(bench.destination, 2), Cut(bench.destination)
    assert isinstance(await bench.run(first), Released)
    assert first.sent == 2
    assert isinstance(await bench.run(second), Done)
    assert second.sent == 2
    found = await bench.destination.read(TRANSFER.key, 0, len(DATA))
    assert found.data == DATA
    assert (found.meta.attributes.content_type, found.meta.attributes.metadata["a"]) == ("text/x", "b")
    assert [u async for u in bench.destination.uploads()] == []
    assert [p async for p in bench.ledger.list_uploads()] == []


async def test_another_version_begins_anew(bench: Bench) -> None:
    """And the upload of the old one is aborted."""
    await bench.source.write("k", DATA, Attributes(), Checksums())
    assert isinstance(await bench.run(Cut(bench.destination, 2)), Released)
    await bench.source.write("k", DATA[::-1], Attributes(), Checksums())
    again = Cut(bench.destination)
    assert isinstance(await bench.run(again, id="t2"), Done)
    assert again.sent == 4
    assert (await bench.destination.read(TRANSFER.key, 0, len(DATA))).data == DATA[::-1]
    assert [u async for u in bench.destination.uploads()] == []


async def test_abandoned_uploads_are_collected_but_none_of_other_programs(bench: Bench) -> None:
    """Of uploads in one bucket, ours alone."""
    foreign = await bench.destination.start_upload("foreign", len(DATA), 5 * MIB, Attributes())
    await bench.source.write("k", DATA, Attributes(), Checksums())
    assert isinstance(await bench.run(Cut(bench.destination, 1)), Released)
    lost = await bench.destination.start_upload(TRANSFER.key, len(DATA), 5 * MIB, Attributes())
    found = await abort_abandoned_uploads(bench.ledger, {"d": bench.destination}, 0.0, bench.clock)
    assert [abandoned.remembered for abandoned in found] == [True, False]
    assert found[1].upload.id == lost.id
    assert [u.id async for u in bench.destination.uploads()] == [foreign.id]


async def test_s3_copies_what_is_over_its_limit_in_parts_with_all_that_it_carries(localstack_s3: S3Place) -> None:
    """The limit of one copy is taken to be small; no byte comes through us, and the parts together are proven."""
    source, destination = [localstack_s3.store(await localstack_s3.bucket()) for _ in "sd"]
    destination.traits = replace(destination.traits, copy_limit=5 * MIB)
    meta = await source.write("k", DATA, EVERYTHING, compute_digests(DATA))
    bench, copied = Bench(Cut(source, UNREADABLE), destination), Cut(destination)
    done = await bench.run(copied)
    assert isinstance(done, Done)
    assert (copied.sent, done.receipt.attested.crc32c) == (4, meta.checksums.crc32c)
    found = await destination.read(TRANSFER.key, 0, len(DATA))
    carried = found.meta.attributes
    assert found.data == DATA
    assert replace(carried, metadata=EVERYTHING.metadata) == EVERYTHING
    assert carried.metadata.items() >= EVERYTHING.metadata.items()
    for store in (source, destination):
        await store.close()


async def test_s3_copies_small_objects_by_itself(localstack_s3: S3Place) -> None:
    """Without a byte through us, also under a precondition that only the completion of an upload can demand there."""
    source, destination = [localstack_s3.store(await localstack_s3.bucket()) for _ in "sd"]
    bench, tags = Bench(Cut(source, UNREADABLE), destination), {"t": "v w"}
    meta = await source.write("k", b"small", Attributes(tags=tags), Checksums(crc32c="7eddf949"))
    done = await bench.run(destination)
    assert isinstance(done, Done)
    assert done.receipt.attested.crc32c == meta.checksums.crc32c != ""
    assert (await destination.head(TRANSFER.key)).attributes.tags == tags
    for store in (source, destination):
        await store.close()


async def test_a_copy_that_was_not_recorded_is_found_in_a_bucket_that_keeps_versions(s3: S3Place) -> None:
    """Its worker died before that; the next one writes no second version. Ceph ignores `If-None-Match` there."""
    bucket = await s3.bucket(versioned=True)
    service = VERSIONED.get(s3.options.service, s3.options.service)
    source = s3.store(await s3.bucket())
    destination = replace(s3, options=replace(s3.options, service=service)).store(bucket)
    await source.write("k", b"small", Attributes(), Checksums())
    written = await Bench(source, destination).run(destination)
    assert isinstance(written, Done)
    again = await Bench(source, destination).run(destination)
    assert isinstance(again, Skipped if service in VERSIONED.values() else Done)
    assert (await destination.head(TRANSFER.key)).version == written.placement.version
    for store in (source, destination):
        await store.close()
