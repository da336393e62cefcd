"""Listings and counts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from skyferry.errors import NotFound
from skyferry.model import State
from skyferry.ports import Filter, Ledger, Retry, Settlement, Skipped
from skyferry.testing.ledger.harness import ALL, LedgerCases, LedgerHarness, bring, claim, failure, finish, transfer


class TransferCases(LedgerCases):
    """The sentences about `get_transfer`, `list_transfers`, `count_transfers` and `find_oldest_unsettled`."""

    async def test_counts_are_by_state(self, one: Ledger, two: Ledger) -> None:
        """Every state has a count, over the transfers of all owners."""
        assert await one.count_transfers() == dict.fromkeys(State, 0)
        for number, state in enumerate(State):
            for ledger in (one, two)[: 1 + number % 2]:
                await bring(ledger, transfer(f"{state}-{ledger.owner}"), state)
        assert await two.count_transfers() == {state: 1 + number % 2 for number, state in enumerate(State)}

    async def test_ids_are_found_by_their_first_digits(self, one: Ledger, two: Ledger) -> None:
        """Of any number of digits, and of all owners."""
        ids = sorted(transfer(f"{number}").id for number in range(40))
        for number, ledger in enumerate((one, two) * 20):
            await bring(ledger, transfer(f"{number}"), State.DONE if number % 3 else State.CLAIMED)
        for digits in (0, 1, 2, 15, 16, 17, 18, 31, 32):
            for prefix in {each[:digits] for each in ids}:
                same = [each for each in ids if each.startswith(prefix)]
                assert sorted(await one.find_ids(prefix, 100)) == same
                assert len(await two.find_ids(prefix, 3)) == min(3, len(same))
        for text in ("x", ids[0] + "0", ids[0][:8].upper() + "é", "*"):
            assert await one.find_ids(text, 100) == []

    async def test_the_first_known_of_what_is_not_settled(self, one: Ledger, two: Ledger) -> None:
        """By route, for all owners; settled transfers do not count, redriven letters do."""
        assert await one.find_oldest_unsettled() == {}
        times = dict(zip(State, (5.0, 3.5, 1.0, 1.0, 1.0, 1.0), strict=True))
        for state, at in times.items():
            await bring(one, replace(transfer(state), occurred_at=at), state)
        await bring(one, replace(transfer("later"), occurred_at=2.0), State.CLAIMED)
        await bring(one, replace(transfer("other", route="b"), occurred_at=9.25), State.RETRY)
        assert await two.find_oldest_unsettled() == {"route": 5.0, "b": 9.25}
        await finish(one, transfer(State.RETRY))
        await one.settle([Settlement(c, Skipped("gone")) for c in await claim(one, transfer(State.CLAIMED))])
        assert await two.find_oldest_unsettled() == {"route": 2.0, "b": 9.25}
        await bring(one, replace(transfer("died", route="c"), occurred_at=7.5), State.DEAD)
        assert "c" not in await two.find_oldest_unsettled()
        await one.redrive(ALL, [transfer("died").id])
        assert (await two.find_oldest_unsettled())["c"] == 7.5

    async def test_a_transfer_is_listed_as_it_was_claimed(self, one: Ledger, harness: LedgerHarness) -> None:
        """With all fields except its failures, which only `get_transfer` returns."""
        t = transfer("t")
        start = await harness.now()
        await finish(one, t, Retry(0.0, failure()))
        await harness.pass_time(3)
        await finish(one, t)
        (row,) = (await one.list_transfers(ALL)).items
        assert (row.transfer, row.state, row.attempts, row.failures) == (t, State.DONE, 2, ())
        assert row.receipt is not None
        assert row.created_at == pytest.approx(start, abs=1.0)
        assert row.updated_at - row.created_at == pytest.approx(3.0, abs=1.0)
        assert await one.get_transfer("no such id") is None
        assert await one.get_transfer(transfer("other").id) is None

    async def test_the_newest_come_first(self, one: Ledger, harness: LedgerHarness) -> None:
        """By their last change, then by their creation."""
        old, young = transfer("old"), transfer("young")
        await finish(one, old, Retry(0.0, failure()))
        await harness.pass_time(1)
        await claim(one, young, transfer("c"), transfer("d"))
        await harness.pass_time(1)
        await finish(one, old)
        order = [row.transfer.id for row in (await one.list_transfers(ALL)).items]
        assert order == [transfer(name).id for name in ("old", "d", "c", "young")]

    @pytest.mark.parametrize("where", [ALL, Filter(state=State.CLAIMED), Filter(key_prefix="key/")], ids=repr)
    async def test_pages_do_not_slip(self, one: Ledger, harness: LedgerHarness, where: Filter) -> None:
        """New and changed transfers go in front; unchanged ones are listed once."""
        names = [f"{number:02}" for number in range(11)]
        for name in names:
            await claim(one, transfer(name))
            if name > "04":
                await harness.pass_time(1)
        page = await one.list_transfers(where, limit=3)
        seen = [row.transfer for row in page.items]
        while page.cursor:
            await harness.pass_time(1)
            await claim(one, transfer(f"new-{len(seen)}"))
            page = await one.list_transfers(where, page.cursor, 3)
            seen += [row.transfer for row in page.items]
        assert seen == [transfer(name) for name in reversed(names)]

    async def test_the_last_page_says_so(self, one: Ledger) -> None:
        """Even if it is full, and if there are no transfers."""
        assert (await one.list_transfers(ALL)).cursor == ""
        await claim(one, *(transfer(f"{n}") for n in range(4)))
        assert (await one.list_transfers(ALL, limit=4)).cursor == ""
        page = await one.list_transfers(ALL, limit=3)
        assert len((await one.list_transfers(ALL, page.cursor, 3)).items) == 1

    @pytest.mark.parametrize("cursor", ["x", "1", "-", "\u00e9.1", "1.2.3"])
    async def test_a_strange_cursor_is_refused(self, one: Ledger, cursor: str) -> None:
        """With NotFound."""
        with pytest.raises(NotFound):
            await one.list_transfers(ALL, cursor)
        with pytest.raises(NotFound):
            await one.list_dead_letters(ALL, cursor)

    async def test_filters_choose_transfers(self, one: Ledger, harness: LedgerHarness) -> None:
        """All given fields must match."""
        start = await harness.now()
        for number, state in enumerate(State):
            for name in ("a", "b"):
                key, route = f"{name}/{number}", f"route-{number % 2}"
                await bring(one, transfer(f"{name}{number}", key, f"from/{key}" if name == "b" else key, route), state)
            await harness.pass_time(10)
        for where, count in (
            (Filter(state=State.DONE), 2),
            (Filter(route="route-1"), 6),
            (Filter(key_prefix="a/"), 6),
            (Filter(key_prefix="a/3"), 1),
            (Filter(key_prefix="a/3/"), 0),
            (Filter(key_prefix="A"), 0),
            (Filter(source_key="a/2"), 1),
            (Filter(source_key="from/b/2"), 1),
            (Filter(source_key="b/2"), 0),
            (Filter(reason="filtered"), 2),
            (Filter(since=start + 15), 8),
            (Filter(until=start + 15), 4),
            (Filter(since=start + 15, until=start + 25), 2),
            (Filter(idle=35.0), 6),
            (Filter(State.RETRY, idle=35.0), 2),
            (Filter(State.RETRY, idle=55.0), 0),
            (Filter(State.RETRY, "route-1", "b/", "from/b/1", "throttled", start, start + 99), 1),
            (Filter(State.RETRY, "route-0", "b/", "from/b/1", "throttled", start, start + 99), 0),
        ):
            found = [row.transfer.id for row in (await one.list_transfers(where)).items]
            assert len(found) == len(set(found)) == count, where

    async def test_a_transfer_is_idle_from_when_it_is_due(self, one: Ledger, harness: LedgerHarness) -> None:
        """Or from its last update, if that is later."""
        await finish(one, transfer("a"), Retry(60.0, failure()))
        await harness.pass_time(80)
        assert (await one.list_transfers(Filter(idle=30.0))).items == []
        await harness.pass_time(20)
        assert len((await one.list_transfers(Filter(idle=30.0))).items) == 1

    @pytest.mark.parametrize("prefix", ["\ud7ff", "z\U0010ffff", "\U0010ffff", "%", "_", "a\0", "'"], ids=ascii)
    async def test_prefixes_are_taken_literally(self, one: Ledger, prefix: str) -> None:
        """With any characters."""
        keys = [prefix, prefix + "x", prefix + "\U0010ffff", "zz", "a", "b"]
        await claim(one, *(transfer(key, key) for key in keys))
        found = {row.transfer.key for row in (await one.list_transfers(Filter(key_prefix=prefix))).items}
        assert found == set(keys[:3])
