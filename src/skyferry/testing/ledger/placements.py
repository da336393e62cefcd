"""Queries of placements."""

from __future__ import annotations

from dataclasses import replace

from skyferry.model import ObjectMeta, Position, Transfer
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

    async def test_current_copies_are_found(self, one: Ledger) -> None:
        """Of the listed version, from the same key and bucket, unless the source was written since."""
        source = replace(T.source, key="", version="")
        for key in ("same", "older", "rewritten", "elsewhere"):
            (held,) = await claim(one, transfer(key, key, T.source.key))
            seen = replace(done(held).placement, positions=(Position.at(7),))
            assert await settle(one, held, replace(done(held), placement=seen))
        await self._done(one, transfer("gone", "gone", T.source.key), deleted=True)

        def listed(version: str = "s1", at: int = 7, of: str = T.source.key) -> ObjectMeta:
            return ObjectMeta(of, 1, version, 0.0, Position.at(at))

        page = [
            (listed(), "same"),
            (listed(version="another"), "older"),
            (listed(at=8), "rewritten"),
            (listed(of="another"), "elsewhere"),
            (listed(), "gone"),
            (listed(), "never"),
        ]
        assert await one.find_current("to", source, page) == {"same"}
        assert await one.find_current("from", source, page) == set()
        assert await one.find_current("to", replace(source, bucket="another"), page) == set()
        assert await one.find_current("to", source, []) == set()

    async def test_keys_that_are_no_unicode_have_no_copy(self, one: Ledger) -> None:
        """A listing may have one, as of bytes that are not UTF-8. Its neighbours are found."""
        await self._done(one, transfer("a", "a", T.source.key))
        keys = ["\udcff", "a", "\udcff"]
        assert [placed and placed.key for placed in await one.get_placements("to", keys)] == [None, "a", None]
        page = [(ObjectMeta(T.source.key, 1, "s1", 0.0), key) for key in keys]
        assert await one.find_current("to", replace(T.source, key="", version=""), page) == {"a"}

    async def _done(self, ledger: Ledger, t: Transfer, *, deleted: bool = False) -> None:
        (held,) = await claim(ledger, t)
        assert await settle(ledger, held, done(held, deleted=deleted))
