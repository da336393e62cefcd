"""Large transfers go on after a crash: at any moment, in another worker, with another source version, or never again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from tests.engine.processes import AT_ONCE, CARRIED, ONE, PART, ROUTE, TRANSFER, TWO, Terse, World

from skyferry.engine.abandoned_uploads import abort_abandoned_uploads
from skyferry.engine.concurrency.transfer_slots import PrioritySemaphore, TransferSlot
from skyferry.engine.consume.attempt import OpenUploads
from skyferry.engine.copy.copier import Attempt, Copier
from skyferry.engine.copy.digests import InlineOffload
from skyferry.engine.copy.strategy import PartLimits
from skyferry.engine.resilience.memory_budget import MemoryBudget
from skyferry.errors import ChecksumMismatch, ConnectionLost, LedgerError, VersionChanged
from skyferry.ledgers.memory.ledger import MemoryLedger
from skyferry.model import Attributes, Checksums, Claim
from skyferry.ports import Done, ObjectData, Settled, Skipped
from skyferry.stores.memory import MemoryStore


async def at_every_step(check: Callable[[int], Any]) -> None:
    """Until the process comes to its end."""
    step = 1
    while await check(step):
        step += 1
    assert step > 30


@pytest.mark.parametrize("provider", [False, True], ids=["through us", "by the provider"])
async def test_killed_at_any_step_the_next_worker_goes_on(provider: bool) -> None:
    """The object is whole, nothing is left behind, and at most the parts that were in flight are sent again."""

    async def check(step: int) -> bool:
        world = World(provider=provider)
        await world.put(ONE)
        died = await world.die(step)
        outcome = await world.work()
        assert isinstance(outcome, Done | Settled)  # the latter where it died after its last effect
        assert await world.held() == ONE
        there = (await world.destination.head("k")).attributes
        assert (there.content_type, there.tags, there.metadata["a"]) == ("text/plain", CARRIED.tags, "b")
        assert world.destination.sent <= len(ONE) + AT_ONCE * PART
        assert await world.clean()
        return died

    await at_every_step(check)


@pytest.mark.parametrize("provider", [False, True], ids=["through us", "by the provider"])
async def test_killed_at_any_step_and_the_source_has_changed(provider: bool) -> None:
    """The destination holds the new version, whole; the upload of the old one is aborted."""

    async def check(step: int) -> bool:
        world = World(provider=provider)
        await world.put(ONE)
        died = await world.die(step)
        await world.put(TWO)
        await world.work(id="t2")
        assert await world.held() == TWO
        assert await world.clean()
        return died

    await at_every_step(check)


@pytest.mark.parametrize("ordered", [False, True], ids=["parts in any order", "parts in order"])
async def test_killed_at_any_step_the_ledger_has_what_the_store_does_not_list(ordered: bool) -> None:
    """The checksums of the parts; one that neither knows is sent again, or read again where its turn is over."""

    async def check(step: int) -> bool:
        world = World()
        world.destination = Terse("d", world.clock, world.destination.bucket, ordered=ordered)
        meta = await world.put(ONE)
        died = await world.die(step)
        outcome = await world.work()
        if isinstance(outcome, Done):
            assert outcome.receipt.computed.crc32c == meta.checksums.crc32c
        assert await world.held() == ONE
        assert world.destination.sent <= len(ONE) + (0 if ordered else AT_ONCE * PART)
        assert await world.clean()
        return died

    await at_every_step(check)


async def test_killed_again_and_again_it_still_ends() -> None:
    """Each process takes a few steps further; what is sent again is bounded by what was in flight each time."""
    world, deaths = World(), 0
    await world.put(ONE)
    while await world.die(14):
        deaths += 1
    assert deaths > 3
    assert await world.held() == ONE
    assert world.destination.sent <= len(ONE) + deaths * AT_ONCE * PART
    assert await world.clean()


@pytest.mark.parametrize(
    "change", [{"part": PART + 1}, {"key": "other"}, {"content_type": "x"}], ids=["part size", "destination", "nothing"]
)
async def test_an_upload_that_would_become_something_else_is_not_gone_on_with(change: dict[str, Any]) -> None:
    """Another part size or destination begins anew; what does not matter goes on."""
    world = World()
    await world.put(ONE)
    assert await world.die(25)
    before = world.destination.sent
    (old,) = world.destination.bucket.uploads
    assert before >= 3 * PART
    await world.work(id="t2", **change)
    anew = world.destination.sent == before + len(ONE)
    assert anew == (change != {"content_type": "x"})
    assert (old in world.destination.bucket.uploads) == ("key" in change)  # there it belongs to another worker


async def test_a_digest_that_does_not_combine_is_read_again_and_not_sent_again() -> None:
    """The event declares a SHA-256: the parts that were sent before are read once more, so that it is compared."""
    for declared, right in ((hashlib.sha256(ONE).hexdigest(), True), ("00" * 32, False)):
        world = World()
        await world.put(ONE)
        assert await world.die(25)
        sums = Checksums(sha256=declared)
        if right:
            done = await world.work(checksums=sums)
            assert done.receipt.computed.sha256 == declared
            assert world.destination.sent <= len(ONE) + AT_ONCE * PART
        else:
            with pytest.raises(ChecksumMismatch, match="the event"):
                await world.work(checksums=sums)
            assert not world.destination.bucket.uploads


async def test_after_a_resume_the_receipt_has_the_crc_of_the_whole() -> None:
    """Combined from the parts; there is no SHA-256, which would need every byte again."""
    world = World()
    meta = await world.put(ONE)
    assert await world.die(25)
    done = await world.work()
    assert done.receipt.computed == Checksums(crc32c=meta.checksums.crc32c)


class Failing(MemoryStore):
    """Breaks off at one range, in one of two ways."""

    error: Exception = ConnectionLost()

    async def read(self, key: str, start: int, length: int, *, version: str = "") -> ObjectData:
        if start == 4 * PART:
            raise self.error
        return await super().read(key, start, length, version=version)


@pytest.mark.parametrize(
    ("error", "kept"), [(ConnectionLost(), True), (VersionChanged(), False)], ids=["outage", "changed"]
)
async def test_an_outage_keeps_the_upload_and_a_change_of_the_source_aborts_it(error: Exception, kept: bool) -> None:
    """At once, in the attempt that failed."""
    world = World()
    await world.put(ONE)
    source = Failing("s", world.clock, world.source.bucket)
    source.error = error
    with pytest.raises(type(error)):
        await world.work(source=source)
    assert bool(world.destination.bucket.uploads) == kept


async def test_a_ledger_that_forgets_to_answer_costs_no_part() -> None:
    """A part that could not be remembered is remembered with the next one."""
    world = World()
    await world.put(ONE)
    uploads, saved = OpenUploads(), []

    async def flaky(what: Any) -> bool:
        saved.append(what[1])
        if len(saved) in (3, 4):
            raise LedgerError
        return True

    (claim,) = await world.ledger().claim([TRANSFER])
    assert isinstance(claim, Claim)
    stores = {"s": world.source, "d": world.destination}
    copier = Copier(stores, MemoryBudget(4 * PART), InlineOffload(), world.clock, PartLimits(PART, 1, 100))
    with await TransferSlot.take(PrioritySemaphore(1), PrioritySemaphore(1), 0.0) as slot:
        assert isinstance(await copier.run(Attempt(claim, slot, uploads, flaky), ROUTE), Done)
    assert saved[0].parts == ()
    saved_numbers = [[part.number for part in progress.parts] for progress in saved]
    assert saved_numbers == [[], [1], [2], [2, 3], [2, 3, 4], [5], [6], [7]]


async def test_a_frozen_worker_does_not_abort_what_another_goes_on_with() -> None:
    """It wakes after its lease: its save is refused, and it stops without touching the upload."""
    world = World()
    await world.put(ONE)
    assert await world.die(25)
    (claim,) = await world.ledger().claim([TRANSFER])
    assert isinstance(claim, Claim)
    await world.clock.advance(31)
    other = world.ledger()
    await other.claim([TRANSFER])
    with pytest.raises(Exception, match="lost to another"):
        await _go_on(world, claim, other)
    assert world.destination.bucket.uploads


async def _go_on(world: World, claim: Claim, ledger: MemoryLedger) -> None:
    uploads = OpenUploads()
    uploads.merge(claim.uploads)

    async def save(what: Any) -> bool:
        (held,) = await ledger.save_progress([what])
        return held

    stores = {"s": world.source, "d": world.destination}
    copier = Copier(stores, MemoryBudget(4 * PART), InlineOffload(), world.clock, PartLimits(PART, AT_ONCE, 100))
    with await TransferSlot.take(PrioritySemaphore(1), PrioritySemaphore(1), 0.0) as slot:
        await copier.run(Attempt(claim, slot, uploads, save), ROUTE)


async def test_what_is_skipped_gives_its_uploads_up() -> None:
    """The source is deleted, so the upload is never finished."""
    world = World()
    await world.put(ONE)
    assert await world.die(25)
    assert world.destination.bucket.uploads
    await world.source.delete("k")
    assert isinstance(await world.work(), Skipped)
    assert not world.destination.bucket.uploads


async def test_the_collector_aborts_no_foreign_uploads() -> None:
    """It aborts old recorded uploads, and those begun for a leased key; no foreign and no recent ones."""
    world = World()
    world.destination.traits = replace(world.destination.traits, listed_uploads="all")
    await world.put(ONE)
    foreign = await world.destination.start_upload("foreign", 1, 1, Attributes())
    await world.clock.advance(300)
    same_key = await world.destination.start_upload("k", 1, 1, Attributes())
    await world.clock.advance(300)
    assert await world.die(25)
    lost = await world.destination.start_upload("k", 1, 1, Attributes())  # whose answer was lost
    ledger, stores = world.ledger(), {"d": world.destination}
    assert await abort_abandoned_uploads(ledger, stores, 3600.0, world.clock) == []
    dry = await abort_abandoned_uploads(ledger, stores, 0.0, world.clock, dry_run=True)
    assert len(world.destination.bucket.uploads) == 4
    assert await abort_abandoned_uploads(ledger, stores, 0.0, world.clock) == dry
    assert [abandoned.remembered for abandoned in dry] == [True, False]
    assert dry[1].upload.id == lost.id
    assert set(world.destination.bucket.uploads) == {foreign.id, same_key.id}
    await world.work()
    assert await world.held() == ONE


async def test_no_byte_passes_through_us_where_the_provider_copies() -> None:
    """Small and large; the source is asked for its attributes, never for its bytes."""
    for data in (b"", b"small", ONE):
        world = World(provider=True)
        await world.put(data)

        class Closed(MemoryStore):
            async def read(self, *args: Any, **kwargs: Any) -> ObjectData:
                raise AssertionError("it was read")

        source = Closed("s", world.clock, world.source.bucket, world.source._provider)
        done = await world.work(source=source)
        assert isinstance(done, Done)
        assert await world.held() == data
        assert done.receipt.computed == Checksums()
        assert done.receipt.declared == done.receipt.attested != Checksums()


async def test_what_the_source_does_not_declare_comes_through_us() -> None:
    """A digest from an event is not trusted if no digest is computed on the way."""
    world = World(provider=True)
    await world.put(b"hello")
    with pytest.raises(ChecksumMismatch, match="the event"):
        await world.work(checksums=Checksums(md5="00" * 16))
