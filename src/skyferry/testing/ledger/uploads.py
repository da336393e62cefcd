"""Uploads in progress."""

from __future__ import annotations

from dataclasses import replace

import pytest

from skyferry.model import Attributes, Claim, Part, Progress, State, Upload
from skyferry.ports import Ledger, Released, Settlement
from skyferry.testing.ledger.harness import ALL, LEASE, LedgerCases, LedgerHarness, bring, claim, dead, settle, transfer

T = transfer("t")
ATTRIBUTES = Attributes("text/plain", "gzip", "de", "inline", "no-store", {"a": "\u00fc b"}, {"t": "v"}, "COLD")


def make_progress(held: Claim, *numbers: int, name: str = "upload/1?x", tag: str = '"e"') -> Progress:
    """Return an upload of seven parts, of which these have been sent."""
    t = held.transfer
    upload = Upload(name, t.key, 7 * 2**20 - 1, 2**20, ATTRIBUTES, 1_700_000_000.5, "secret")
    parts = tuple(Part(n, (n - 1) * 2**20, 2**20, tag, f"{n:08x}") for n in numbers)
    return Progress(t.store, upload, replace(t.source, version="s1"), parts)


async def save_upload(ledger: Ledger, held: Claim, what: Progress) -> bool:
    """Save the progress of one upload. Return True if it was saved."""
    (saved,) = await ledger.save_progress([(held, what)])
    return saved


async def list_upload_ids(ledger: Ledger) -> list[str]:
    """List the ids of all open uploads."""
    return [each.upload.id async for each in ledger.list_uploads()]


class UploadLogCases(LedgerCases):
    """The sentences about `save_progress`, `list_uploads`, `close_uploads`, `Claim.uploads` and `Settlement.closed`."""

    async def test_progress_comes_with_the_next_claim(self, one: Ledger, two: Ledger, harness: LedgerHarness) -> None:
        """With all parts in order; also for another process, another transfer of the key, and a repeated claim."""
        first, second = await claim(one, T, transfer("other", key=T.key))
        assert first.uploads == second.uploads == ()
        assert await save_upload(one, first, make_progress(first))
        assert await save_upload(one, first, make_progress(first, 5, 2))
        assert await save_upload(one, second, make_progress(first, 1))
        await harness.pass_time(LEASE + 1)
        for t in (second.transfer, T):
            (held,) = await claim(two, t)
            (found,) = held.uploads
            assert replace(found, age=0.0) == make_progress(first, 1, 2, 5)
            assert found.age == pytest.approx(LEASE + 1, abs=2.0)
        assert (await claim(two, transfer("elsewhere")))[0].uploads == ()

    async def test_of_a_part_sent_again_the_last_counts(self, one: Ledger) -> None:
        """Its tag may differ; the other parts stay."""
        (held,) = await claim(one, T)
        await one.save_progress([(held, make_progress(held, 1, 2)), (held, make_progress(held, 2, tag="again"))])
        (found,) = (await claim(one, T))[0].uploads
        assert found.parts == (*make_progress(held, 1).parts, *make_progress(held, 2, tag="again").parts)

    async def test_many_parts_are_kept(self, one: Ledger) -> None:
        """Up to the greatest number that an object may have."""
        (held,) = await claim(one, T)
        await save_upload(one, held, make_progress(held, *range(1, 10_001)))
        (found,) = (await claim(one, T))[0].uploads
        assert found.parts == make_progress(held, *range(1, 10_001)).parts

    async def test_an_old_fence_saves_nothing(self, one: Ledger, two: Ledger, harness: LedgerHarness) -> None:
        """Answers are in order; the progress of another process is unchanged."""
        old, kept = await claim(one, T, transfer("kept"))
        await save_upload(one, old, make_progress(old, 1))
        await harness.pass_time(LEASE + 1)
        await claim(two, T)
        answers = await one.save_progress(
            [(old, make_progress(old, 2)), (kept, make_progress(kept, 1)), (old, make_progress(old, name="new"))]
        )
        assert answers == [False, True, False]
        (found,) = (await claim(two, T))[0].uploads
        assert found.parts == make_progress(old, 1).parts

    async def test_the_latest_comes_last(self, one: Ledger) -> None:
        """Ids distinguish several uploads to one key; saving one again does not change its place."""
        (held,) = await claim(one, T)
        for name in ("b", "a", "b"):
            await save_upload(one, held, make_progress(held, name=name))
        assert [p.upload.id for p in (await claim(one, T))[0].uploads] == ["b", "a"]

    async def test_what_is_closed_goes_with_the_settlement(self, one: Ledger, two: Ledger) -> None:
        """Only closed uploads are removed, with all of their parts."""
        held, same = await claim(one, T, transfer("same name"))
        for name in ("a", "b", "c"):
            await save_upload(one, held, make_progress(held, 1, name=name))
        await save_upload(one, same, make_progress(same, name="a"))
        assert await one.settle([Settlement(held, Released(0.0), closed=("a", "c", "never"))]) == [True]
        (again,) = await claim(two, T)
        assert [p.upload.id for p in again.uploads] == ["b"]
        assert await list_upload_ids(two) == ["b", "a"]
        await save_upload(two, again, make_progress(again, name="a"))
        assert [p.parts for p in (await claim(two, T))[0].uploads] == [make_progress(again, 1).parts, ()]

    async def test_a_refused_settlement_closes_nothing(self, one: Ledger, two: Ledger, harness: LedgerHarness) -> None:
        """The upload belongs to another owner now."""
        (old,) = await claim(one, T)
        await save_upload(one, old, make_progress(old, 1, name="a"))
        await harness.pass_time(LEASE + 1)
        await claim(two, T)
        assert await one.settle([Settlement(old, Released(0.0), closed=("a",))]) == [False]
        assert await list_upload_ids(one) == ["a"]

    async def test_they_stay_whatever_becomes_of_the_transfer(self, one: Ledger, harness: LedgerHarness) -> None:
        """Dead, discarded, pruned: an upload that was not closed can still be found."""
        (held,) = await claim(one, T)
        await save_upload(one, held, make_progress(held, 1))
        await settle(one, held, dead())
        await one.discard(ALL, [T.id])
        await harness.pass_time(10)
        await one.prune(5.0)
        assert await one.get_transfer(T.id) is None
        assert await list_upload_ids(one) == ["upload/1?x"]
        await bring(one, T, State.CLAIMED)

    async def test_all_that_are_open_are_listed(self, one: Ledger, two: Ledger, harness: LedgerHarness) -> None:
        """In any number, the least recently saved first, without their parts."""
        held, other = await claim(one, T, transfer("other"))
        names = [f"{number:04}" for number in range(2100)]
        await one.save_progress([(held, make_progress(held, 1, 2, name=name)) for name in names])
        await harness.pass_time(1)
        await save_upload(one, other, make_progress(other, name="young"))
        await harness.pass_time(1)
        await save_upload(one, held, make_progress(held, 3, name="0007"))
        names.remove("0007")
        assert await list_upload_ids(two) == [*names, "young", "0007"]
        found = [each async for each in two.list_uploads()]
        assert replace(found[-1], age=0.0) == make_progress(held, name="0007")
        assert replace(found[-2], age=0.0) == make_progress(other, name="young")
        assert found[-2].age - found[-1].age == pytest.approx(1.0, abs=0.9)

    async def test_closing_by_hand(self, one: Ledger) -> None:
        """Also if the key is leased; only in this store, and twice is no error."""
        held, other = await claim(one, T, transfer("other"))
        for claimed, name in ((held, "a"), (held, "b"), (other, "c")):
            await save_upload(one, claimed, make_progress(claimed, 1, name=name))
        await one.close_uploads("elsewhere", ["a"])
        assert await list_upload_ids(one) == ["a", "b", "c"]
        for _ in range(2):
            await one.close_uploads("to", ["a", "c", "never"])
            assert await list_upload_ids(one) == ["b"]
