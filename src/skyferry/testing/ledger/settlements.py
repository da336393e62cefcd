"""Outcomes and their effects."""

from __future__ import annotations

from dataclasses import replace

import pytest

from skyferry.model import Position, State, Transfer
from skyferry.ports import Ledger, Released, Retry, Settled, Settlement, Skipped, Wait
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
OLD, NEW = Position("s3-sequencer", "0001"), Position("s3-sequencer", "0002")
TIME = Position.at(1_700_000_000_000_000_000)


class SettlementCases(LedgerCases):
    """The sentences about `settle` and `get_placements`."""

    async def test_done_is_recorded_once(self, one: Ledger) -> None:
        """With its receipt and placement; a second settlement is refused, even with another outcome."""
        (held,) = await claim(one, T)
        outcome = done(held, NEW)
        assert await settle(one, held, outcome)
        assert not await settle(one, held, outcome)
        assert not await settle(one, held, Released(0.0))
        row = await one.get_transfer(T.id)
        assert row is not None
        assert (row.state, row.receipt, row.attempts) == (State.DONE, outcome.receipt, 1)
        assert await one.get_placements("to", ["nothing", T.key]) == [None, outcome.placement]

    async def test_twice_in_one_batch_is_recorded_once(self, one: Ledger) -> None:
        """The first outcome counts."""
        (held,) = await claim(one, T)
        assert await one.settle([Settlement(held, done(held)), Settlement(held, dead())]) == [True, False]
        assert (await one.list_dead_letters(ALL)).items == []

    async def test_an_old_fence_records_nothing(self, one: Ledger, two: Ledger, harness: LedgerHarness) -> None:
        """No outcome, placement or letter; and it does not free the key of the new owner."""
        for name, outcome in (("a", done), ("b", lambda _: dead()), ("c", lambda _: Retry(0.0, failure()))):
            (old,) = await claim(one, transfer(name))
            await harness.pass_time(LEASE + 1)
            (new,) = await claim(two, old.transfer)
            assert not await settle(one, old, outcome(old))
            row = await one.get_transfer(old.transfer.id)
            assert row is not None
            assert (row.state, row.failures, row.receipt) == (State.CLAIMED, (), None)
            assert [type(answer) for answer in await one.claim([old.transfer])] == [Wait]
            assert await settle(two, new, done(new))
            assert not await settle(one, old, outcome(old))
        assert (await one.list_dead_letters(ALL)).items == []

    async def test_answers_are_in_order(self, one: Ledger, two: Ledger, harness: LedgerHarness) -> None:
        """Old and current fences in one batch."""
        held = await claim(one, *(transfer(f"{n}") for n in range(4)))
        await harness.pass_time(LEASE + 1)
        await claim(two, held[1].transfer, held[2].transfer)
        assert await one.settle([Settlement(h, done(h)) for h in held]) == [True, False, False, True]

    async def test_the_last_frees_the_key(self, one: Ledger, two: Ledger) -> None:
        """Only the last settlement does."""
        first, second = await claim(one, T, transfer("b", key=T.key))
        assert await settle(one, first, done(first), last=False)
        assert [type(answer) for answer in await two.claim([transfer("c", key=T.key)])] == [Wait]
        assert await settle(one, second, done(second))
        await claim(two, transfer("c", key=T.key))

    async def test_a_key_given_back_with_work_in_hand_is_not_settled_any_more(self, one: Ledger, two: Ledger) -> None:
        """After another owner had the key, the remaining claims of the first owner are stale."""
        first, second = await claim(one, T, transfer("b", key=T.key))
        assert await settle(one, first, done(first))
        await finish(two, transfer("c", key=T.key))
        assert not await settle(one, second, done(second))
        assert await one.renew([second]) == [second]

    async def test_positions_are_merged(self, one: Ledger) -> None:
        """The newest of each scheme stays, if both are of the same source key."""
        await self._done(one, T, NEW)
        await self._done(one, transfer("b", key=T.key), OLD, TIME)
        assert await self._positions(one) == {NEW, TIME}

    async def test_positions_of_another_source_are_forgotten(self, one: Ledger) -> None:
        """They cannot be compared."""
        await self._done(one, T, NEW)
        await self._done(one, transfer("b", key=T.key, source_key="elsewhere"), OLD)
        assert await self._positions(one) == {OLD}

    async def test_two_of_one_key_in_one_batch_are_both_merged(self, one: Ledger) -> None:
        """In the order of the batch."""
        first, second = await claim(one, T, transfer("b", key=T.key))
        batch = [Settlement(first, done(first, NEW), last=False), Settlement(second, done(second, TIME))]
        assert await one.settle(batch) == [True, True]
        (placed,) = await one.get_placements("to", [T.key])
        assert placed is not None
        assert (set(placed.positions), placed.transfer_id) == ({NEW, TIME}, second.transfer.id)

    async def test_skipped_moves_positions(self, one: Ledger) -> None:
        """Those of the existing placement, also of a tombstone, if the source is the same."""
        await self._done(one, T, OLD, deleted=True)
        await finish(one, transfer("b", key=T.key), Skipped("superseded", (NEW, TIME)))
        await finish(
            one, transfer("c", key=T.key, source_key="elsewhere"), Skipped("superseded", (Position("x", "1"),))
        )
        assert await self._positions(one) == {NEW, TIME}
        (placed,) = await one.get_placements("to", [T.key])
        assert placed is not None
        assert placed.deleted

    async def test_skipped_places_nothing(self, one: Ledger) -> None:
        """An empty key stays empty; but the transfer is settled, with its reason."""
        await finish(one, T, Skipped("gone", (NEW,)))
        assert await one.get_placements("to", [T.key]) == [None]
        assert await one.claim([T]) == [Settled(T.id, State.SKIPPED, "gone")]

    async def test_attempts_are_burned_failures(self, one: Ledger) -> None:
        """Outages and releases do not count; the history has every failure."""
        story = [failure(1), failure(2, "connection_lost", counts_as_attempt=False), failure(2)]
        for number, what in enumerate(story):
            (held,) = await claim(one, T)
            assert held.attempt == (1, 2, 2)[number]
            assert await settle(one, held, Retry(0.0, what))
            await finish(one, T, Released(0.0))
        (held,) = await claim(one, T)
        assert held.attempt == 3
        row = await one.get_transfer(T.id)
        assert row is not None
        assert row.failures == tuple(story)

    async def test_a_waiting_transfer_shows_why_and_until_when(self, one: Ledger, harness: LedgerHarness) -> None:
        """Its reason is the kind of the last failure; it is due after the delay, by the ledger's clock."""
        await finish(one, T, Retry(30.0, failure()))
        await harness.pass_time(20)
        row = await one.get_transfer(T.id)
        assert row is not None
        assert (row.state, row.reason, row.attempts) == (State.RETRY, "throttled", 1)
        assert row.due_at == pytest.approx(await harness.now() + 10, abs=2.0)

    async def test_dead_writes_its_letter(self, one: Ledger) -> None:
        """In the same step, with all failures and the unchanged message."""
        await finish(one, T, Retry(0.0, failure()))
        outcome = dead()
        await finish(one, T, outcome)
        letter = await one.get_dead_letter(T.id)
        assert letter is not None
        assert (letter.body, letter.attributes) == (outcome.body, outcome.attributes)
        assert (letter.reason, letter.message, letter.hint) == (
            "permission_denied",
            outcome.failure.message,
            "grant it",
        )
        assert letter.attempts == (failure(), outcome.failure)
        assert (letter.at, letter.queue, letter.route, letter.key) == (outcome.failure.at, "queue", T.route, T.key)
        assert (letter.source, letter.event_id) == (f"aws_s3://source/{T.key}", T.event_id)
        assert (letter.correlation_id, letter.redriven_at) == (T.correlation_id, None)
        assert await one.claim([T]) == [Settled(T.id, State.DEAD, "permission_denied")]

    async def _done(self, ledger: Ledger, t: Transfer, *positions: Position, deleted: bool = False) -> None:
        (held,) = await claim(ledger, t)
        assert await settle(ledger, held, done(held, *positions, deleted=deleted))

    async def _positions(self, ledger: Ledger) -> set[Position]:
        (placed,) = await ledger.get_placements("to", [T.key])
        assert placed is not None
        return set(placed.positions)

    async def test_what_another_store_of_the_name_held_is_not_here(self, one: Ledger) -> None:
        """A transfer to another store of the same name finds no placement and is done again; old positions do not move."""
        here, there = replace(T, identities=("s3 here", "")), replace(T, identities=("s3 there",))
        (held,) = await claim(one, here)
        copied = done(held, OLD)
        await settle(one, held, replace(copied, placement=replace(copied.placement, identity="s3 here")))
        assert [type(answer) for answer in await one.claim([here])] == [Settled]
        (again,) = await claim(one, there)
        assert again.placement is None
        await settle(one, again, Skipped("superseded", (NEW,)))
        assert (await one.get_placements("to", [T.key]))[0] == replace(copied.placement, identity="s3 here")
        (again,) = await claim(one, there)
        copied = done(again, NEW)
        await settle(one, again, replace(copied, placement=replace(copied.placement, identity="s3 there")))
        assert [type(answer) for answer in await one.claim([there])] == [Settled]
        (back,) = await claim(one, here)
        assert back.placement is None

    async def test_what_has_no_identity_counts_where_it_may(self, one: Ledger) -> None:
        """A placement without an identity is in the first store of that name."""
        await finish(one, T, done((await claim(one, T))[0]))
        assert [type(answer) for answer in await one.claim([replace(T, identities=("s3 here", ""))])] == [Settled]
        (again,) = await claim(one, replace(T, identities=("s3 there",)))
        assert again.placement is None

    async def test_what_a_person_asks_for_is_never_a_duplicate(self, one: Ledger) -> None:
        """But a dead transfer must be redriven instead."""
        await finish(one, T)
        assert [type(answer) for answer in await one.claim([T])] == [Settled]
        (again,) = await claim(one, replace(T, asked=True))
        assert await settle(one, again, Skipped("current"))
        await finish(one, transfer("dead"), dead())
        assert [type(answer) for answer in await one.claim([replace(transfer("dead"), asked=True)])] == [Settled]
