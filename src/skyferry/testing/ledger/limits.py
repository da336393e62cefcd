"""Shared rates and breakers."""

from __future__ import annotations

import asyncio

import pytest

from skyferry.ports import Ledger, OpenBreaker
from skyferry.testing.ledger.harness import LEASE, LedgerCases, LedgerHarness

NAME = "requests s3  b\u00fcckets"
HOUR = 3600.0
SPENT = 2.0  # seconds that a server may take for the calls of a test


class RateCases(LedgerCases):
    """The sentences of `SharedRates`."""

    async def test_units_follow_each_other_for_all_workers(self, one: Ledger, two: Ledger) -> None:
        """The first begins in the past by the burst, and each waits for those before it."""
        delays = [await ledger.reserve_units(NAME, 1000.0, 10.0, 50.0) for ledger in (one, two, one)]
        assert delays[0] == 0
        assert delays[1:] == pytest.approx([50.0, 150.0], abs=SPENT)

    async def test_time_that_passes_is_worked_off(self, one: Ledger, two: Ledger, harness: LedgerHarness) -> None:
        """Up to the burst: what is not reserved in time is lost."""
        await one.reserve_units(NAME, 1000.0, 10.0, 0.0)
        await harness.pass_time(40.0)
        assert await two.reserve_units(NAME, 1.0, 10.0, 0.0) == pytest.approx(60.0, abs=SPENT)
        await harness.pass_time(HOUR)
        delays = [await one.reserve_units(NAME, 200.0, 10.0, 30.0) for _ in range(3)]
        assert delays == pytest.approx([0.0, 0.0, 10.0], abs=SPENT)

    async def test_more_units_than_the_burst_pass_and_the_next_wait(self, one: Ledger) -> None:
        """One unit at a rate below one a second, for example."""
        delays = [await one.reserve_units(NAME, 1.0, 0.01, 0.5) for _ in range(3)]
        assert delays == pytest.approx([0.0, 99.5, 199.5], abs=SPENT)

    async def test_at_another_rate_units_are_kept(self, one: Ledger, two: Ledger) -> None:
        """A debt of 1,000 units takes 100 s at 10 units a second, 10 s at 100, and 1,000 s at 1."""
        await one.reserve_units(NAME, 1000.0, 10.0, 0.0)
        assert await two.reserve_units(NAME, 100.0, 100.0, 0.0) == pytest.approx(10.0, abs=SPENT)
        assert await one.reserve_units(NAME, 1.0, 1.0, 0.0) == pytest.approx(1100.0, abs=100 * SPENT)

    async def test_names_are_separate(self, one: Ledger) -> None:
        """Another rate has its own record."""
        await one.reserve_units(NAME, 1000.0, 1.0, 0.0)
        assert await one.reserve_units(f"{NAME} ", 1000.0, 1.0, 0.0) == 0

    async def test_calls_at_the_same_time_follow_each_other(self, harness: LedgerHarness) -> None:
        """No two get the same units."""
        ledgers = [await harness.open(f"worker-{number}") for number in range(5)]
        calls = [ledger.reserve_units(NAME, 600.0, 1.0, 0.0) for ledger in ledgers for _ in range(3)]
        delays = sorted(await asyncio.gather(*calls))
        assert delays == pytest.approx([600.0 * n for n in range(15)], abs=5 * SPENT)

    async def test_time_counts_once(self, one: Ledger, two: Ledger, harness: LedgerHarness) -> None:
        """Also if a step that began before another ends after it, or if a clock jumps to and fro."""
        await one.reserve_units(NAME, 100.0, 1.0, 0.0)
        for _ in range(5):
            await harness.pass_time(-4.0)
            await two.reserve_units(NAME, 1.0, 1.0, 0.0)
            await harness.pass_time(4.0)
            await one.reserve_units(NAME, 1.0, 1.0, 0.0)
        assert await one.reserve_units(NAME, 1.0, 1.0, 0.0) == pytest.approx(110.0, abs=SPENT)

    async def test_a_clock_that_is_set_back_delays_for_no_longer(self, one: Ledger, harness: LedgerHarness) -> None:
        """The units reserved are worked off from now on."""
        await one.reserve_units(NAME, 10.0, 1.0, 0.0)
        await harness.pass_time(-HOUR)
        assert await one.reserve_units(NAME, 10.0, 1.0, 0.0) == pytest.approx(10.0, abs=SPENT)
        await harness.pass_time(15.0)
        assert await one.reserve_units(NAME, 10.0, 1.0, 0.0) == pytest.approx(5.0, abs=SPENT)


class BreakerCases(LedgerCases):
    """The sentences of `SharedBreakers`."""

    async def test_at_first_all_are_closed(self, one: Ledger) -> None:
        """None is listed."""
        assert list(await one.list_breakers()) == []

    async def test_an_open_breaker_is_open_for_all(self, one: Ledger, two: Ledger, harness: LedgerHarness) -> None:
        """With the seconds that are left."""
        opening = await one.open_breaker(NAME, "read", 40.0, 20.0)
        await two.open_breaker("other", "write", 5.0, 5.0)
        other, found = await two.list_breakers()
        assert other.name == "other"
        assert found == OpenBreaker(NAME, opening, "read", found.left, 20.0)
        assert found.left == pytest.approx(40.0, abs=SPENT)
        await harness.pass_time(50.0)
        _, late = await one.list_breakers()
        assert late.left == pytest.approx(-10.0, abs=SPENT)

    async def test_opening_anew_never_shortens(self, one: Ledger, two: Ledger) -> None:
        """It is a new opening, with the last side."""
        first = await one.open_breaker(NAME, "read", 400.0, 20.0)
        second = await two.open_breaker(NAME, "look", 5.0, 5.0)
        assert second != first
        (found,) = await one.list_breakers()
        assert (found.opening, found.side) == (second, "look")
        assert found.left == pytest.approx(400.0, abs=SPENT)

    async def test_one_worker_tries_at_a_time(self, one: Ledger, two: Ledger, harness: LedgerHarness) -> None:
        """Not before the cool-down has ended; another at the end of the lease."""
        opening = await one.open_breaker(NAME, "read", 20.0, 20.0)
        assert not await one.take_trial(NAME, opening, LEASE)
        await harness.pass_time(21.0)
        assert await one.take_trial(NAME, opening, LEASE)
        assert not await two.take_trial(NAME, opening, LEASE)
        assert await one.take_trial(NAME, opening, LEASE), "it continues"
        await harness.pass_time(LEASE + 1)
        assert await two.take_trial(NAME, opening, LEASE)
        assert not await one.take_trial(NAME, opening, LEASE)

    async def test_of_workers_at_the_same_time_one_tries(self, harness: LedgerHarness) -> None:
        """Exactly one."""
        ledgers = [await harness.open(f"worker-{number}") for number in range(5)]
        opening = await ledgers[0].open_breaker(NAME, "read", 0.0, 5.0)
        granted = await asyncio.gather(*(ledger.take_trial(NAME, opening, LEASE) for ledger in ledgers))
        assert sorted(granted) == [False, False, False, False, True]

    async def test_a_call_that_is_late_gets_no_second_trial(
        self, one: Ledger, two: Ledger, harness: LedgerHarness
    ) -> None:
        """It may have begun before the one that was granted, but waited for it."""
        opening = await one.open_breaker(NAME, "read", 20.0, 20.0)
        await harness.pass_time(-3.0)
        assert not await two.take_trial(NAME, opening, LEASE), "not due"
        await harness.pass_time(33.0)
        assert await one.take_trial(NAME, opening, LEASE)
        await harness.pass_time(-3.0)
        assert not await two.take_trial(NAME, opening, LEASE)

    async def test_a_trial_that_failed_ends(self, one: Ledger, two: Ledger, harness: LedgerHarness) -> None:
        """By the next opening, for which there is another trial."""
        opening = await one.open_breaker(NAME, "read", 0.0, 5.0)
        assert await one.take_trial(NAME, opening, HOUR)
        again = await one.open_breaker(NAME, "read", 20.0, 20.0)
        assert not await one.take_trial(NAME, opening, HOUR), "of the former opening"
        assert not await two.take_trial(NAME, again, HOUR), "not due"
        await harness.pass_time(21.0)
        assert await two.take_trial(NAME, again, HOUR)

    async def test_closing_closes_for_all(self, one: Ledger, two: Ledger) -> None:
        """Twice is as once; no trial of it is left."""
        opening = await one.open_breaker(NAME, "read", 0.0, 5.0)
        await two.close_breaker(NAME, opening)
        await two.close_breaker(NAME, opening)
        assert list(await one.list_breakers()) == []
        assert not await one.take_trial(NAME, opening, LEASE)

    async def test_a_late_closing_does_not_close_the_next_opening(self, one: Ledger, two: Ledger) -> None:
        """It is about the former one."""
        first = await one.open_breaker(NAME, "read", 0.0, 5.0)
        second = await one.open_breaker(NAME, "read", 0.0, 5.0)
        await two.close_breaker(NAME, first)
        assert [b.opening for b in await two.list_breakers()] == [second]
        assert await two.take_trial(NAME, second, LEASE)

    async def test_a_clock_that_is_set_back_does_not_keep_it_open(
        self, one: Ledger, two: Ledger, harness: LedgerHarness
    ) -> None:
        """A trial is due at once, and its lease ends."""
        opening = await one.open_breaker(NAME, "read", 20.0, 20.0)
        await harness.pass_time(-HOUR)
        assert await one.take_trial(NAME, opening, LEASE)
        await harness.pass_time(LEASE + 1)
        assert await two.take_trial(NAME, opening, LEASE)
        await harness.pass_time(-HOUR)
        assert await one.take_trial(NAME, opening, LEASE)
