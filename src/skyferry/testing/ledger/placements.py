"""Queries of placements."""

from __future__ import annotations

from dataclasses import replace

from skyferry.model import Transfer
from skyferry.ports import Ledger, Settlement
from skyferry.testing.ledger.harness import LedgerCases, claim, done, settle, transfer

T = transfer("t")


class PlacementCases(LedgerCases):
    """The sentences of `Placements`; `SettlementCases` has those about writes of placements."""

    async def test_live_placements_of_a_bucket_are_listed(self, one: Ledger) -> None:
        """In key order, after a given key, in any number; without tombstones and other buckets."""
        keys = sorted(["a", "b\0", "b\0c", "\u00e9", "\ue000", "\U0001f680", *(f"n/{n:04}" for n in range(2100))])
        claims = await claim(one, *(transfer(key, key=key) for key in keys))
        await one.settle([Settlement(held, done(held)) for held in claims])
        await self._done(one, transfer("gone", key="gone"), deleted=True)
        foreign = replace(transfer("foreign", key="foreign"), source=replace(T.source, bucket="other"))
        await self._done(one, foreign)
        assert [placed.key async for placed in one.list_placements("to", "source")] == keys
        assert [placed.key async for placed in one.list_placements("to", "source", "n/2000")] == [
            k for k in keys if k > "n/2000"
        ]
        assert [placed.key async for placed in one.list_placements("to", "other")] == ["foreign"]
        assert [placed.key async for placed in one.list_placements("from", "source")] == []

    async def _done(self, ledger: Ledger, t: Transfer, *, deleted: bool = False) -> None:
        (held,) = await claim(ledger, t)
        assert await settle(ledger, held, done(held, deleted=deleted))
