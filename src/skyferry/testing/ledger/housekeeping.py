"""Health and pruning."""

from __future__ import annotations

import pytest

from skyferry.errors import LedgerError
from skyferry.ports import Filter, Ledger, Retry, Skipped
from skyferry.testing.ledger.harness import LedgerCases, LedgerHarness, claim, dead, failure, finish, transfer

T = transfer("t")


class HousekeepingCases(LedgerCases):
    """The sentences of `Housekeeping`."""

    async def test_it_says_that_it_can_be_written(self, one: Ledger) -> None:
        """And raises LedgerError once closed."""
        await one.check_writable()
        await one.close()
        with pytest.raises(LedgerError):
            await one.check_writable()

    async def test_pruning_forgets_settled_transfers(self, one: Ledger, harness: LedgerHarness) -> None:
        """Only old ones, at most `limit` at a time, the oldest first; placements and dead letters stay."""
        await finish(one, T)
        await harness.pass_time(1)
        await finish(one, transfer("skipped"), Skipped("filtered"))
        await finish(one, transfer("dead"), dead())
        await finish(one, transfer("retry"), Retry(0.0, failure()))
        await claim(one, transfer("claimed"))
        await harness.pass_time(10)
        await finish(one, transfer("young"))
        assert [await one.prune(5.0, 1) for _ in range(3)] == [1, 1, 0]
        assert await one.get_transfer(T.id) is None
        assert await one.get_dead_letter(transfer("dead").id) is not None
        assert await one.get_placements("to", [T.key]) != [None]
        left = {row.transfer.id for row in (await one.list_transfers(Filter())).items}
        assert left == {transfer(name).id for name in ("dead", "retry", "claimed", "young")}
        assert sum((await one.count_transfers()).values()) == 4
        await claim(one, T)
