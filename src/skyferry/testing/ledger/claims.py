"""Claims, fences, leases."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from skyferry.errors import LedgerError
from skyferry.model import Claim, State, Transfer
from skyferry.ports import Ledger, Purpose, Released, Retry, Settled, Settlement, Skipped, Wait
from skyferry.testing.ledger.harness import (
    ALL,
    LEASE,
    LedgerCases,
    LedgerHarness,
    claim,
    dead,
    done,
    failure,
    finish,
    settle,
    transfer,
)

T = transfer("t")
SLACK = 2.0  # seconds that the calls of a case may take on a real server


def assert_waits(
    answers: Sequence[Claim | Settled | Wait], transfers: Sequence[Transfer], delay: float, *, busy: bool
) -> None:
    """Assert that all of them must wait, for `delay` seconds or the little less that has passed meanwhile."""
    waits = [answer for answer in answers if isinstance(answer, Wait)]
    assert [(wait.transfer_id, wait.busy) for wait in waits] == [(t.id, busy) for t in transfers]
    assert all(delay - SLACK <= wait.delay <= delay for wait in waits), waits


class ClaimCases(LedgerCases):
    """The sentences about `claim`, `renew` and leases."""

    async def test_a_fresh_transfer_is_claimed(self, one: Ledger) -> None:
        """As the first attempt, without lost leases or a placement; and it is recorded."""
        (held,) = await claim(one, T)
        assert (held.transfer, held.attempt, held.lost, held.placement) == (T, 1, 0, None)
        row = await one.get_transfer(T.id)
        assert row is not None
        assert (row.transfer, row.state) == (T, State.CLAIMED)

    async def test_answers_come_in_the_order_asked(self, one: Ledger, two: Ledger) -> None:
        """For all kinds of answers."""
        settled, waiting, held, fresh = (transfer(name) for name in ("settled", "waiting", "held", "fresh"))
        await finish(one, settled)
        await finish(one, waiting, Retry(1e6, failure()))
        await claim(two, held)
        answers = await one.claim([fresh, held, waiting, settled, transfer("more")])
        assert [type(answer) for answer in answers] == [Claim, Wait, Wait, Settled, Claim]

    async def test_a_key_in_other_hands_is_busy(self, one: Ledger, two: Ledger, harness: LedgerHarness) -> None:
        """Another transfer of the same key waits too, until the lease ends; it is not recorded."""
        await claim(one, T)
        other = transfer("other", key=T.key)
        assert_waits(await two.claim([T, other]), [T, other], LEASE, busy=True)
        await harness.pass_time(LEASE / 2)
        assert_waits(await two.claim([T, other]), [T, other], LEASE / 2, busy=True)
        assert await two.get_transfer(other.id) is None

    async def test_the_same_key_in_another_store_is_free(self, one: Ledger, two: Ledger) -> None:
        """The lease is on store and key together; keys that differ only after a NUL are different."""
        await claim(one, transfer("a", key="k\0a"))
        await claim(two, transfer("b", key="k\0b"), transfer("c", key="k"))

    async def test_one_owner_gets_the_same_fence_again(self, one: Ledger) -> None:
        """For several transfers of one key, in one batch and later, and for one transfer twice; no lease is lost."""
        held = await claim(one, T, transfer("b", key=T.key), T)
        held += await claim(one, transfer("c", key=T.key), T)
        assert len({h.fence for h in held}) == 1
        assert {h.lost for h in held} == {0}

    async def test_fences_rise_from_owner_to_owner(self, one: Ledger, two: Ledger, harness: LedgerHarness) -> None:
        """Both after a release and after an expired lease."""
        fences = []
        for owner, ends in ((one, True), (two, False), (one, False), (two, True), (one, True)):
            (held,) = await claim(owner, T)
            fences.append(held.fence)
            if ends:
                assert await settle(owner, held, Released(0.0))
            else:
                await harness.pass_time(LEASE + 1)
        assert fences == sorted(set(fences))

    async def test_a_lease_that_ended_without_a_settle_is_lost(
        self, one: Ledger, two: Ledger, harness: LedgerHarness
    ) -> None:
        """Each loss is counted, but not as an attempt."""
        await claim(one, T)
        await harness.pass_time(LEASE + 1)
        (second,) = await claim(two, T)
        assert (second.attempt, second.lost) == (1, 1)
        await harness.pass_time(LEASE + 1)
        (third,) = await claim(one, T)
        assert (third.attempt, third.lost) == (1, 2)
        row = await one.get_transfer(T.id)
        assert row is not None
        assert row.lost == 2

    async def test_a_key_that_was_not_freed_is_taken_over(
        self, one: Ledger, two: Ledger, harness: LedgerHarness
    ) -> None:
        """The first claim by its new owner says so, also of another transfer, and if all were settled before."""
        (first,) = await claim(one, T)
        assert await settle(one, first, done(first), last=False)
        await harness.pass_time(LEASE + 1)
        second, third = await claim(two, transfer("b", key=T.key), transfer("c", key=T.key))
        (fourth,) = await claim(two, transfer("d", key=T.key))
        assert [held.taken_over for held in (first, second, third, fourth)] == [False, True, False, False]

    async def test_a_key_that_was_freed_is_not_taken_over(self, one: Ledger, two: Ledger) -> None:
        """By the last settlement, also if it is sent again for this alone."""
        (first,) = await claim(one, T)
        assert await settle(one, first, done(first), last=False)
        assert not await settle(one, first, Released())
        (second,) = await claim(two, transfer("b", key=T.key))
        assert not second.taken_over

    async def test_what_was_settled_or_released_is_not_lost(self, one: Ledger, two: Ledger) -> None:
        """A retry and a release end a lease like any other outcome."""
        await finish(one, T, Released(0.0))
        await finish(two, T, Retry(0.0, failure()))
        (held,) = await claim(one, T)
        assert (held.attempt, held.lost) == (2, 0)

    async def test_claiming_again_extends_the_lease(self, one: Ledger, two: Ledger, harness: LedgerHarness) -> None:
        """Like a renewal."""
        await claim(one, T)
        await harness.pass_time(LEASE / 2)
        await claim(one, transfer("b", key=T.key))
        await harness.pass_time(LEASE * 0.75)
        assert [type(answer) for answer in await two.claim([T])] == [Wait]

    async def test_renewing_keeps_the_key(self, one: Ledger, two: Ledger, harness: LedgerHarness) -> None:
        """Any number of times, and for all claims of the key."""
        held = await claim(one, T, transfer("b", key=T.key))
        for _ in range(4):
            await harness.pass_time(LEASE * 0.75)
            assert await one.renew(held) == []
        assert [type(answer) for answer in await two.claim([T])] == [Wait]
        assert await settle(one, held[0], done(held[0]))

    async def test_a_lease_that_ended_is_still_ours_while_nobody_else_came(
        self, one: Ledger, two: Ledger, harness: LedgerHarness
    ) -> None:
        """A late renewal and a late settlement succeed if the fence is unchanged."""
        first, second = await claim(one, T, transfer("b"))
        await harness.pass_time(LEASE * 2)
        assert await settle(one, second, done(second))
        assert await one.renew([first]) == []
        assert [type(answer) for answer in await two.claim([T])] == [Wait]

    async def test_renewing_tells_what_another_owner_took(
        self, one: Ledger, two: Ledger, harness: LedgerHarness
    ) -> None:
        """Even if the other owner has already settled it; the remaining claims are renewed."""
        lost, gone, kept = await claim(one, transfer("lost"), transfer("gone"), transfer("kept"))
        await harness.pass_time(LEASE + 1)
        await claim(two, lost.transfer)
        await finish(two, gone.transfer)
        assert await one.renew([lost, gone, kept]) == [lost, gone]
        assert [type(answer) for answer in await two.claim([kept.transfer])] == [Wait]

    async def test_a_settled_transfer_is_never_claimed_again(self, one: Ledger, two: Ledger) -> None:
        """Done, skipped, dead, discarded: every owner gets the state and the reason."""
        finished = {name: transfer(name) for name in ("done", "skipped", "dead", "discarded")}
        await finish(one, finished["done"])
        await finish(one, finished["skipped"], Skipped("filtered"))
        await finish(one, finished["dead"], dead("permission_denied"))
        await finish(one, finished["discarded"], dead("permission_denied"))
        await one.discard(ALL, [finished["discarded"].id])
        answers = await two.claim(list(finished.values()))
        reasons = ("", "filtered", "permission_denied", "permission_denied")
        assert answers == [
            Settled(t.id, State(name), reason) for (name, t), reason in zip(finished.items(), reasons, strict=True)
        ]

    async def test_a_retry_waits_until_it_is_due(self, one: Ledger, two: Ledger, harness: LedgerHarness) -> None:
        """For all owners; so does a release with a time."""
        released = transfer("released")
        await finish(one, T, Retry(30.0, failure()))
        await finish(one, released, Released(30.0))
        for ledger in (one, two):
            assert_waits(await ledger.claim([T, released]), [T, released], 30.0, busy=False)
        await harness.pass_time(20)
        assert_waits(await one.claim([T, released]), [T, released], 10.0, busy=False)
        await harness.pass_time(11)
        retried, again = await claim(two, T, released)
        assert (retried.attempt, again.attempt) == (2, 1)

    async def test_a_claim_brings_what_its_key_holds(self, one: Ledger) -> None:
        """The placement, even if another transfer made it."""
        (held,) = await claim(one, T)
        outcome = done(held)
        assert await settle(one, held, outcome)
        (other,) = await claim(one, transfer("other", key=T.key))
        assert other.placement == outcome.placement

    async def test_closing_frees_the_leases(self, one: Ledger, two: Ledger) -> None:
        """At once, and closing twice is no error; later calls fail."""
        await claim(one, T)
        await one.close()
        await one.close()
        await claim(two, T)
        with pytest.raises(LedgerError):
            await one.claim([T])

    async def test_keys_that_are_kept_outlive_their_owner(
        self, one: Ledger, two: Ledger, harness: LedgerHarness
    ) -> None:
        """`close` frees the others. Where kept keys end by time, the next owner takes them over."""
        other = transfer("other")
        kept, _ = await claim(one, T, other)
        await one.keep([kept])
        await one.close()
        await claim(two, other)
        if harness.keeps_leases:
            assert [type(answer) for answer in await two.claim([T])] == [Wait]
            await harness.pass_time(LEASE + 1)
        (again,) = await claim(two, T)
        assert again.taken_over is harness.keeps_leases

    async def test_calls_at_the_same_time_do_not_mix(self, one: Ledger, two: Ledger) -> None:
        """Of concurrent claims of a key only one owner's succeed; each settlement is recorded once."""
        batches = [[transfer(f"{n}") for n in range(start, start + 20)] for start in range(0, 60, 5)]
        owners = [one, two] * (len(batches) // 2)
        answers = await asyncio.gather(*(owner.claim(b) for owner, b in zip(owners, batches, strict=True)))
        held: dict[str, set[int]] = {}
        settlements = []
        for owner, batch in zip(owners, answers, strict=True):
            for answer in batch:
                if isinstance(answer, Claim):
                    held.setdefault(answer.transfer.id, set()).add(answer.fence)
                    settlements.append(owner.settle([Settlement(answer, done(answer))]))
        assert {len(fences) for fences in held.values()} == {1}
        recorded = await asyncio.gather(*settlements)
        assert sum(answer for (answer,) in recorded) == len(held)

    async def test_nothing_is_asked_of_an_empty_batch(self, one: Ledger) -> None:
        """Empty batches give empty answers."""
        assert (await one.claim([]), await one.settle([]), await one.renew([])) == ([], [], [])
        await one.add_dead_letters([])
        await one.finish_letters(Purpose.REDRIVE, [])
        assert await one.get_placements("to", []) == []
