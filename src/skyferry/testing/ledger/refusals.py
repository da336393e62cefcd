"""Events that no route takes, and transfers that ended without their route."""

from __future__ import annotations

from dataclasses import replace

from skyferry.model import Change, ObjectRef, Provider, State
from skyferry.ports import DeadLetter, Ledger, Refusal, Skipped
from skyferry.testing.ledger.harness import ALL, LedgerCases, LedgerHarness, claim, done, finish, settle, transfer

SOURCE = ObjectRef(Provider.AWS_S3, "photos", "a/\u00fc.txt", "eu-west-1", "v1")
FIRST = Refusal(SOURCE, Change.CREATED, "event-1", 1_700_000_000.25, 1_700_000_001.5, (("r", "filter.prefix: b/"),))
UNROUTED = DeadLetter("u1", 1_700_000_000.5, "queue", "unrouted_bucket", "which?", "", b"{}", (), "", "aws_s3://nc/k/1")


class RefusalCases(LedgerCases):
    """The sentences about `add_refusals`, `list_refusals`, `count_unrouted` and the reason `no_route`."""

    async def test_the_last_refusal_of_a_source_key_stays(self, one: Ledger, two: Ledger) -> None:
        """One for each bucket; the latest first."""
        elsewhere = replace(FIRST, source=replace(SOURCE, bucket="other"), at=FIRST.at + 1)
        other_key = replace(FIRST, source=replace(SOURCE, key="b"))
        newer = replace(
            FIRST, event_id="event-2", change=Change.DELETED, at=FIRST.at + 2, rules=(("", "x"), ("r", "y"))
        )
        await one.add_refusals([FIRST, other_key])
        await two.add_refusals([elsewhere, newer])
        assert await one.list_refusals(SOURCE.key) == [newer, elsewhere]
        assert await one.list_refusals("b") == [other_key]
        assert await one.list_refusals("nothing") == []

    async def test_refusals_are_pruned(self, one: Ledger, harness: LedgerHarness) -> None:
        """After the transfers, and at most `limit` at a time."""
        await finish(one, transfer("t"))
        now = await harness.now()
        await one.add_refusals([replace(FIRST, source=replace(SOURCE, key=f"{n}"), at=now + 20 * n) for n in range(3)])
        await harness.pass_time(45)
        assert [await one.prune(15.0, 1) for _ in range(4)] == [1, 1, 1, 0]
        assert [bool(await one.list_refusals(f"{n}")) for n in range(3)] == [False, False, True]

    async def test_letters_of_unknown_buckets_are_grouped(self, one: Ledger) -> None:
        """By bucket, the largest group first; without letters for other reasons."""
        await one.add_dead_letters([UNROUTED, replace(UNROUTED, id="u2", source="aws_s3://nc/k/2")])
        await one.add_dead_letters(
            [replace(UNROUTED, id="u3", source="file://b/k"), replace(UNROUTED, id="x", reason="x")]
        )
        assert await one.count_unrouted() == [("aws_s3://nc", 2), ("file://b", 1)]
        assert await one.count_unrouted(1) == [("aws_s3://nc", 2)]
        await one.discard(ALL, ["u1", "u2"])
        assert await one.count_unrouted() == [("file://b", 1)]

    async def test_what_ended_without_its_route_can_be_claimed_by_who_has_it(self, one: Ledger, two: Ledger) -> None:
        """Workers with two configurations do not lose transfers that one of them ended."""
        t = transfer("t")
        await finish(one, t, Skipped("no_route"))
        (held,) = await claim(two, t)
        assert await settle(two, held, done(held))
        assert (await one.count_transfers())[State.DONE] == 1
        assert (await one.count_transfers())[State.SKIPPED] == 0
