"""Dead letters: buried, redriven, discarded, published."""

from __future__ import annotations

from dataclasses import replace

from skyferry.model import State
from skyferry.ports import DeadLetter, DeadLetterRef, Filter, Ledger, Purpose, Retry, Settled, Skipped
from skyferry.testing.ledger.harness import (
    ALL,
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

T, U = transfer("t"), transfer("u")
BURIED = DeadLetter("buried", 1_700_000_000.5, "queue", "unknown_format", "what?", "", b"\0\xff", (("a", "b"),))


class DeadLetterCases(LedgerCases):
    """The sentences of `DeadLetters` and `LetterLeases`."""

    async def test_burying_is_idempotent(self, one: Ledger) -> None:
        """By id: the first letter stays."""
        await one.add_dead_letters([BURIED, replace(BURIED, message="again")])
        await one.add_dead_letters([replace(BURIED, message="and again"), replace(BURIED, id="other")])
        assert await one.get_dead_letter("buried") == BURIED
        assert len((await one.list_dead_letters(ALL)).items) == 2
        assert await one.get_dead_letter("nothing") is None

    async def test_a_redriven_transfer_starts_over(self, one: Ledger, two: Ledger) -> None:
        """It can be claimed at once, from attempt 1; earlier failures stay, and so does the letter until it is finished."""
        await finish(one, T, Retry(0.0, failure()))
        await finish(one, T, dead())
        assert await one.redrive(ALL) == 1
        assert await one.redrive(ALL) == 0
        (held,) = await claim(two, T)
        assert (held.attempt, held.lost) == (1, 0)
        assert await settle(two, held, done(held))
        row = await one.get_transfer(T.id)
        assert row is not None
        assert len(row.failures) == 2
        (letter,) = (await one.list_dead_letters(ALL)).items
        assert letter.redriven_at is not None

    async def test_redriven_letters_are_handed_out(self, one: Ledger, two: Ledger, harness: LedgerHarness) -> None:
        """Each to one client at a time, at most `limit`; one with an expired lease is handed out again."""
        await finish(one, T, dead())
        await one.add_dead_letters([BURIED])
        assert await one.take_letters(Purpose.REDRIVE, 10, 5.0) == []
        assert (await one.count_redriven(), await one.redrive(ALL), await one.count_redriven()) == (0, 2, 2)
        first = await one.take_letters(Purpose.REDRIVE, 1, 5.0)
        second = await two.take_letters(Purpose.REDRIVE, 10, 50.0)
        assert {letter.id for letter in first + second} == {T.id, "buried"}
        assert await one.take_letters(Purpose.REDRIVE, 10, 5.0) == []
        await harness.pass_time(6)
        assert [letter.id for letter in await two.take_letters(Purpose.REDRIVE, 10, 5.0)] == [first[0].id]

    async def test_a_finished_letter_is_gone(self, one: Ledger) -> None:
        """Finishing twice is no error; a letter that was not redriven stays."""
        await one.add_dead_letters([BURIED, replace(BURIED, id="other")])
        await one.redrive(ALL, ["buried"])
        await one.take_letters(Purpose.REDRIVE, 10, 5.0)
        for _ in range(2):
            await one.finish_letters(
                Purpose.REDRIVE, [DeadLetterRef(name, BURIED.at) for name in ("buried", "other", "nothing")]
            )
        assert await one.count_redriven() == 0
        assert [letter.id for letter in (await one.list_dead_letters(ALL)).items] == ["other"]

    async def test_a_letter_can_come_again_later(self, one: Ledger, harness: LedgerHarness) -> None:
        """At `retry_at`, and not earlier."""
        await one.add_dead_letters([BURIED])
        await one.redrive(ALL)
        await one.take_letters(Purpose.REDRIVE, 1, 5.0)
        await one.reschedule_letters(Purpose.REDRIVE, [BURIED.ref], 20)
        await harness.pass_time(19)
        assert await one.take_letters(Purpose.REDRIVE, 1, 5.0) == []
        await harness.pass_time(2)
        (letter,) = await one.take_letters(Purpose.REDRIVE, 1, 5.0)
        assert letter.body == BURIED.body

    async def test_what_dies_again_is_a_new_letter(self, one: Ledger) -> None:
        """It stays when its earlier message is finished, and is not handed out."""
        await finish(one, T, dead())
        await one.add_dead_letters([BURIED])
        await one.redrive(ALL)
        taken = await one.take_letters(Purpose.REDRIVE, 2, 5.0)
        await finish(one, T, dead("invalid_key"))
        await one.add_dead_letters([replace(BURIED, message="still")])
        await one.finish_letters(Purpose.REDRIVE, [letter.ref for letter in taken])
        letters = {letter.id: letter for letter in (await one.list_dead_letters(ALL)).items}
        assert (letters[T.id].reason, letters["buried"].message) == ("invalid_key", "still")
        assert {letter.redriven_at for letter in letters.values()} == {None}
        assert len(letters[T.id].attempts) == 2
        assert await one.redrive(ALL) == 2

    async def test_what_died_again_and_was_redriven_again_stays(self, one: Ledger) -> None:
        """Even if the message of its first death is finished only later."""
        await one.add_dead_letters([BURIED])
        await one.redrive(ALL)
        (first,) = await one.take_letters(Purpose.REDRIVE, 1, 5.0)
        await one.add_dead_letters([replace(BURIED, at=BURIED.at + 1)])
        assert await one.redrive(ALL) == 1
        await one.finish_letters(Purpose.REDRIVE, [first.ref])
        assert [letter.at for letter in await one.take_letters(Purpose.REDRIVE, 1, 5.0)] == [BURIED.at + 1]

    async def test_discarding_is_for_good(self, one: Ledger) -> None:
        """The letter is removed and the transfer settled; also of a redriven letter, unless the transfer is claimed."""
        for t in (T, U):
            await finish(one, t, dead())
        await one.add_dead_letters([BURIED])
        await one.redrive(ALL, [U.id])
        assert await one.discard(ALL) == 3
        assert (await one.list_dead_letters(ALL)).items == []
        assert await one.claim([T, U]) == [Settled(t.id, State.DISCARDED, "permission_denied") for t in (T, U)]

    async def test_what_is_in_hand_is_not_discarded(self, one: Ledger) -> None:
        """The outcome of the claim decides."""
        await finish(one, T, dead())
        await one.redrive(ALL)
        (held,) = await claim(one, T)
        assert await one.discard(ALL) == 0
        assert await settle(one, held, done(held))
        assert await one.discard(ALL) == 1
        assert await one.claim([T]) == [Settled(T.id, State.DONE)]

    async def test_filters_choose_letters(self, one: Ledger) -> None:
        """By every field, and ids restrict further; the same filters apply to redriving and discarding."""
        for number, (key, route, kind) in enumerate((("a/1", "r", "x"), ("a/2", "s", "x"), ("b/1", "r", "y"))):
            await finish(one, transfer(key, key, f"from/{key}", route), dead(kind, 1_700_000_000.0 + number))
        for where, count in (
            (Filter(route="r"), 2),
            (Filter(key_prefix="a/"), 2),
            (Filter(source_key="from/a/2"), 1),
            (Filter(source_key="from/a/"), 0),
            (Filter(reason="x"), 2),
            (Filter(since=1_700_000_001.0), 2),
            (Filter(until=1_700_000_001.0), 1),
            (Filter(state=State.DEAD), 3),
            (Filter(state=State.DONE), 0),
            (Filter(route="r", reason="y", key_prefix="b", since=1_700_000_002.0), 1),
        ):
            assert len((await one.list_dead_letters(where)).items) == count, where
        assert await one.redrive(Filter(route="r"), [transfer("a/1").id, transfer("a/2").id]) == 1
        assert await one.redrive(ALL, []) == 0
        assert await one.discard(Filter(reason="x")) == 2
        assert await one.count_dead_letters() == [("r", "y", 1)]

    async def test_letters_are_listed_newest_first(self, one: Ledger) -> None:
        """Page by page."""
        for number in range(7):
            await one.add_dead_letters([replace(BURIED, id=f"{number}", at=1_700_000_000.0 + number // 2)])
        seen, cursor = [], ""
        while True:
            page = await one.list_dead_letters(ALL, cursor, 2)
            seen += [letter.id for letter in page.items]
            if not (cursor := page.cursor):
                break
        assert seen == ["6", "5", "4", "3", "2", "1", "0"]

    async def test_causes_are_grouped(self, one: Ledger) -> None:
        """By route and reason, the largest group first."""
        for number, kind in enumerate(("x", "y", "y")):
            await finish(one, transfer(f"{number}"), dead(kind))
        await one.add_dead_letters([BURIED])
        assert await one.count_dead_letters() == [("route", "y", 2), ("", "unknown_format", 1), ("route", "x", 1)]

    async def test_a_redriven_transfer_that_is_skipped_is_settled(self, one: Ledger) -> None:
        """Like any other transfer."""
        await finish(one, T, dead())
        await one.redrive(ALL)
        await finish(one, T, Skipped("gone"))
        assert await one.claim([T]) == [Settled(T.id, State.SKIPPED, "gone")]

    async def test_unpublished_letters_are_handed_out(self, one: Ledger, two: Ledger, harness: LedgerHarness) -> None:
        """In the order of their deaths, each to one client at a time, at most `limit`; again after an expired lease."""
        await one.add_dead_letters([BURIED])
        await finish(one, T, dead())
        (first,) = await one.take_letters(Purpose.PUBLISH, 1, 5.0)
        (second,) = await two.take_letters(Purpose.PUBLISH, 10, 50.0)
        assert (first, second.id, second.reason) == (BURIED, T.id, "permission_denied")
        assert await one.take_letters(Purpose.PUBLISH, 10, 5.0) == []
        await harness.pass_time(6)
        assert await two.take_letters(Purpose.PUBLISH, 10, 5.0) == [first]

    async def test_a_published_letter_is_not_handed_out_again(self, one: Ledger, harness: LedgerHarness) -> None:
        """It stays a dead letter. Publishing it twice is no error, nor is publishing a missing one."""
        await one.add_dead_letters([BURIED])
        found = await one.take_letters(Purpose.PUBLISH, 10, 5.0)
        for _ in range(2):
            await one.finish_letters(
                Purpose.PUBLISH, [*(letter.ref for letter in found), DeadLetterRef("nothing", BURIED.at)]
            )
        await harness.pass_time(6)
        assert await one.take_letters(Purpose.PUBLISH, 10, 5.0) == []
        assert await one.get_dead_letter("buried") == BURIED

    async def test_a_letter_that_could_not_be_sent_comes_again(self, one: Ledger, harness: LedgerHarness) -> None:
        """At `retry_at`, unless it was published meanwhile."""
        await one.add_dead_letters([BURIED])
        found = await one.take_letters(Purpose.PUBLISH, 10, 50.0)
        await one.reschedule_letters(Purpose.PUBLISH, [letter.ref for letter in found], 5)
        assert await one.take_letters(Purpose.PUBLISH, 10, 5.0) == []
        await harness.pass_time(6)
        assert await one.take_letters(Purpose.PUBLISH, 10, 5.0) == found
        await one.finish_letters(Purpose.PUBLISH, [letter.ref for letter in found])
        await one.reschedule_letters(Purpose.PUBLISH, [letter.ref for letter in found], 0)
        await harness.pass_time(1)
        assert await one.take_letters(Purpose.PUBLISH, 10, 5.0) == []

    async def test_what_is_redriven_or_discarded_is_not_published(self, one: Ledger) -> None:
        """It needs no attention any more."""
        await one.add_dead_letters([BURIED, replace(BURIED, id="other")])
        await one.redrive(ALL, ["buried"])
        await one.discard(ALL, ["other"])
        assert await one.take_letters(Purpose.PUBLISH, 10, 5.0) == []

    async def test_what_dies_again_is_published_again(self, one: Ledger) -> None:
        """Even if its first publication is reported late: an id and a time identify a death."""
        await finish(one, T, dead())
        first = await one.take_letters(Purpose.PUBLISH, 10, 5.0)
        await one.redrive(ALL)
        await finish(one, T, dead("invalid_key", 1_700_000_009.0))
        await one.finish_letters(Purpose.PUBLISH, [letter.ref for letter in first])
        (letter,) = await one.take_letters(Purpose.PUBLISH, 10, 5.0)
        assert (letter.id, letter.reason, letter.at) == (T.id, "invalid_key", 1_700_000_009.0)
