"""Deletes that wait for a decision, and the identities of sources."""

from __future__ import annotations

from dataclasses import replace

from skyferry.model import ObjectRef, Provider
from skyferry.ports import HeldDelete, HeldFilter, Ledger
from skyferry.ports.ledger.held_deletes import Why
from skyferry.testing.ledger.harness import LedgerCases, LedgerHarness

AT = 1_700_000_000.5


def make_held_delete(key: str, *routes: str, store: str = "in", reason: Why = "limit", at: float = AT) -> HeldDelete:
    """Return the delete of a missing object."""
    return HeldDelete(ObjectRef(Provider.FILE, f"bucket-{store}", key), store, routes or ("route",), reason, at)


async def list_keys(ledger: Ledger, where: HeldFilter | None = None) -> list[str]:
    """List the keys of matching deletes in order."""
    return [held.source.key for held in (await ledger.list_held_deletes(where or HeldFilter())).items]


class HeldDeleteCases(LedgerCases):
    """The sentences of `HeldDeletes`."""

    async def test_what_is_held_is_told_whole_to_every_process(self, one: Ledger, two: Ledger) -> None:
        """The latest first; holding it again changes nothing."""
        first, second = make_held_delete('a/\u00fc"', "mirror", "other"), make_held_delete("b", reason="empty")
        assert await one.hold_deletes([first, second]) == 2
        assert await one.hold_deletes([replace(first, reason="replaced"), make_held_delete("c")]) == 1
        found = await two.list_held_deletes(HeldFilter())
        assert (found.items, found.cursor) == ([make_held_delete("c"), second, first], "")
        assert await two.find_held_deletes([first.id, "0" * 16]) == {first.id}
        assert await two.count_held_deletes() == [("in", "empty", 1), ("in", "limit", 2)]

    async def test_held_deletes_are_filtered_and_paged(self, one: Ledger) -> None:
        """All given fields must match."""
        await one.hold_deletes(
            [
                make_held_delete("a/1", "r1"),
                make_held_delete("a/2", "r1", "r2"),
                make_held_delete("b", store="other", at=AT + 1),
            ]
        )
        assert await list_keys(one, HeldFilter(route="r1", prefix="a/")) == ["a/2", "a/1"]
        assert await list_keys(one, HeldFilter(route="r2")) == ["a/2"]
        assert await list_keys(one, HeldFilter(store="other", reason="limit", at=AT + 1)) == ["b"]
        assert await list_keys(one, HeldFilter(prefix="A")) == await list_keys(one, HeldFilter(state="approved")) == []
        page = await one.list_held_deletes(HeldFilter(), limit=2)
        rest = await one.list_held_deletes(HeldFilter(), page.cursor, 2)
        assert [held.source.key for held in (*page.items, *rest.items)] == ["b", "a/2", "a/1"]
        assert rest.cursor == ""

    async def test_approved_ones_come_in_their_order_until_they_are_forgotten(
        self, one: Ledger, two: Ledger, harness: LedgerHarness
    ) -> None:
        """Only those that match the filter and the ids."""
        held = [make_held_delete(key) for key in "abcd"]
        await one.hold_deletes(held)
        assert await one.approve_deletes(HeldFilter(), [held[2].id, held[0].id]) == 2
        assert await one.approve_deletes(HeldFilter(prefix="d")) == 1
        assert await one.approve_deletes(HeldFilter(prefix="d")) == 0
        found = await two.list_approved_deletes(2)
        assert [each.source.key for each in found] == ["a", "c"]
        now = await harness.now()
        assert all(abs((each.decided_at or 0.0) - now) < 5 for each in found)
        assert await two.forget_deletes([each.id for each in found]) == 2
        assert [each.source.key for each in await one.list_approved_deletes(10)] == ["d"]
        assert await list_keys(one) == ["b"]

    async def test_rejected_ones_are_remembered_until_they_are_forgotten(self, one: Ledger) -> None:
        """They no longer wait, are not held again, and may still be approved."""
        held = make_held_delete("a")
        await one.hold_deletes([held])
        assert await one.reject_deletes(HeldFilter()) == 1
        assert await one.hold_deletes([held]) == 0
        assert (await list_keys(one), await one.count_held_deletes()) == ([], [])
        assert await list_keys(one, HeldFilter(state="rejected")) == ["a"]
        assert await one.find_held_deletes([held.id]) == {held.id}
        assert await one.approve_deletes(HeldFilter(state="rejected"), [held.id]) == 1
        assert await one.forget_deletes([held.id]) == 1
        assert await one.forget_deletes([held.id]) == 0
        assert await one.hold_deletes([held]) == 1

    async def test_an_identity_is_remembered_until_a_person_decides_about_a_replaced_source(
        self, one: Ledger, two: Ledger
    ) -> None:
        """Only about that source, and only for the reason `replaced`."""
        assert await one.get_identity("file://bucket-in") == ""
        for store in ("in", "other"):
            await one.set_identity(f"file://bucket-{store}", f"disk {store}")
        await one.set_identity("file://bucket-in", "disk 2")
        assert await two.get_identity("file://bucket-in") == "disk 2"
        await one.hold_deletes([make_held_delete("a"), make_held_delete("b", reason="replaced")])
        await one.approve_deletes(HeldFilter(prefix="a"))
        assert await two.get_identity("file://bucket-in") == "disk 2"
        await one.reject_deletes(HeldFilter())
        assert await two.get_identity("file://bucket-in") == ""
        assert await two.get_identity("file://bucket-other") == "disk other"
