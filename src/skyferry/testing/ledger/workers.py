"""Workers and roles."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from skyferry.ports import Heartbeat, Ledger, WorkerEntry, WorkerState
from skyferry.testing.ledger.harness import LEASE, LedgerCases, LedgerHarness

KEYS = (("to", "a/\u00fc\0 b"), ("elsewhere", "k"))
BEAT = Heartbeat("host-1", "1.2.3", "eu-west-1", 12.5, WorkerState.RUNNING, 20, KEYS, "1a2b", "3c4d")
SOON = LEASE / 3
MARGIN = 2.0  # seconds that a server may take for the calls between


async def list_ids(ledger: Ledger) -> list[str]:
    """List the ids of all workers."""
    return [entry.id for entry in (await ledger.list_workers()).items]


async def find_holders(ledger: Ledger) -> dict[str, str]:
    """Return the holder of each role."""
    return {role.name: entry.id for entry in (await ledger.list_workers()).items for role in entry.roles}


async def find_ages(ledger: Ledger) -> dict[str, float]:
    """Return the age of each role, in seconds."""
    return {role.name: role.age for entry in (await ledger.list_workers()).items for role in entry.roles}


class WorkerCases(LedgerCases):
    """The sentences of `Workers`."""

    async def test_no_worker_is_known_before_its_heartbeat(self, one: Ledger) -> None:
        """A process that has the ledger open, such as a command, is no worker."""
        assert await list_ids(one) == []
        assert await one.count_workers() == dict.fromkeys(WorkerState, 0)

    async def test_a_worker_is_listed_as_it_reports_itself(self, one: Ledger, two: Ledger) -> None:
        """With its roles, for every process."""
        assert await one.heartbeat(BEAT, ["b", "a"]) == ["a", "b"]
        (entry,) = (await two.list_workers()).items
        assert entry == WorkerEntry("one", BEAT, entry.silence, entry.roles)
        assert 0 <= entry.silence < MARGIN
        assert [role.name for role in entry.roles] == ["a", "b"]
        assert all(0 <= role.age < MARGIN for role in entry.roles)

    async def test_the_last_heartbeat_counts(self, one: Ledger, harness: LedgerHarness) -> None:
        """Ages grow by the ledger's clock."""
        await one.heartbeat(BEAT, ["a"])
        await harness.pass_time(SOON)
        later = replace(BEAT, age=BEAT.age + SOON, holds=0, keys=(), state=WorkerState.DRAINING)
        assert await one.heartbeat(later, ["a"]) == ["a"]
        await harness.pass_time(5.0)
        (entry,) = (await one.list_workers()).items
        assert entry.last == later
        assert entry.silence == pytest.approx(5.0, abs=MARGIN)
        assert entry.age == pytest.approx(BEAT.age + SOON + 5.0, abs=MARGIN)
        assert [role.name for role in entry.roles] == ["a"]

    async def test_workers_are_counted_by_state(self, one: Ledger, two: Ledger) -> None:
        """Every state has a number."""
        await one.heartbeat(BEAT, [])
        await two.heartbeat(replace(BEAT, state=WorkerState.DRAINING), [])
        assert await one.count_workers() == {WorkerState.RUNNING: 1, WorkerState.DRAINING: 1}
        await two.heartbeat(BEAT, [])
        assert await one.count_workers() == {WorkerState.RUNNING: 2, WorkerState.DRAINING: 0}

    async def test_one_worker_has_a_role(self, one: Ledger, two: Ledger) -> None:
        """Each gets those that are free, and keeps them."""
        assert await one.heartbeat(BEAT, ["a"]) == ["a"]
        assert await two.heartbeat(BEAT, ["a", "b"]) == ["b"]
        assert await one.heartbeat(BEAT, ["a", "b"]) == ["a"]
        assert await find_holders(one) == {"a": "one", "b": "two"}

    async def test_of_calls_at_the_same_time_one_gets_a_role(self, harness: LedgerHarness) -> None:
        """All of its roles are given out, each once."""
        ledgers = [await harness.open(f"worker-{number}") for number in range(5)]
        roles = ["a", "b", "c"]
        wanted = [roles if number % 2 else roles[::-1] for number in range(5)]
        for _ in range(3):
            held = await asyncio.gather(*(ledger.heartbeat(BEAT, w) for ledger, w in zip(ledgers, wanted, strict=True)))
            assert sorted(name for names in held for name in names) == roles
            for ledger, names in zip(ledgers, held, strict=True):
                assert await ledger.heartbeat(BEAT, names) == names
            await harness.pass_time(LEASE + 1)

    async def test_a_renewed_role_stays(self, one: Ledger, two: Ledger, harness: LedgerHarness) -> None:
        """For as long as the heartbeats come."""
        for _ in range(5):
            assert await one.heartbeat(BEAT, ["a"]) == ["a"]
            assert await two.heartbeat(BEAT, ["a"]) == []
            await harness.pass_time(LEASE / 2)

    async def test_another_takes_a_role_over_at_the_end_of_its_lease(
        self, one: Ledger, two: Ledger, harness: LedgerHarness
    ) -> None:
        """Not earlier. The former holder hears of it, and gets the role back only from the new one."""
        await one.heartbeat(BEAT, ["a"])
        await harness.pass_time(LEASE - MARGIN)
        assert await two.heartbeat(BEAT, ["a"]) == []
        await harness.pass_time(MARGIN + 1)
        assert await two.heartbeat(BEAT, ["a"]) == ["a"]
        assert await one.heartbeat(BEAT, ["a"]) == []
        assert await find_holders(one) == {"a": "two"}

    async def test_a_role_that_no_other_took_is_granted_again(self, one: Ledger, harness: LedgerHarness) -> None:
        """Also after its lease has ended."""
        await one.heartbeat(BEAT, ["a"])
        await harness.pass_time(3 * LEASE)
        assert await one.heartbeat(BEAT, ["a"]) == ["a"]

    async def test_a_role_has_an_age(self, one: Ledger, two: Ledger, harness: LedgerHarness) -> None:
        """From the heartbeat that granted it, by the ledger's clock. It begins anew after the end of the lease."""
        await one.heartbeat(BEAT, ["a"])
        await harness.pass_time(SOON)
        await one.heartbeat(BEAT, ["a", "b"])
        await harness.pass_time(SOON)
        assert await find_ages(two) == pytest.approx({"a": 2 * SOON, "b": SOON}, abs=MARGIN)
        await harness.pass_time(LEASE)
        await one.heartbeat(BEAT, ["a"])
        await two.heartbeat(BEAT, ["b"])
        await harness.pass_time(SOON)
        assert await find_ages(one) == pytest.approx({"a": SOON, "b": SOON}, abs=MARGIN)

    async def test_a_role_that_is_no_longer_wanted_is_free_at_once(self, one: Ledger, two: Ledger) -> None:
        """The others stay."""
        await one.heartbeat(BEAT, ["a", "b"])
        assert await one.heartbeat(BEAT, ["b"]) == ["b"]
        assert await two.heartbeat(BEAT, ["a", "b"]) == ["a"]
        assert await one.heartbeat(replace(BEAT, state=WorkerState.DRAINING), []) == []
        assert await two.heartbeat(BEAT, ["a", "b"]) == ["a", "b"]

    async def test_closing_ends_a_worker(self, one: Ledger, two: Ledger) -> None:
        """It is no longer listed, and its roles are free at once."""
        await one.heartbeat(BEAT, ["a"])
        await one.close()
        assert await list_ids(two) == []
        assert await two.heartbeat(BEAT, ["a"]) == ["a"]

    async def test_a_silent_worker_disappears(self, one: Ledger, two: Ledger, harness: LedgerHarness) -> None:
        """With its roles, at the end of its lease; it comes back with its next heartbeat."""
        await one.heartbeat(BEAT, ["a"])
        await harness.pass_time(LEASE - MARGIN)
        assert await list_ids(two) == ["one"]
        await harness.pass_time(MARGIN + 1)
        assert await list_ids(two) == []
        assert (await two.count_workers())[WorkerState.RUNNING] == 0
        await two.heartbeat(BEAT, ["b"])
        assert await list_ids(two) == ["two"]
        assert await find_holders(two) == {"b": "two"}
        await one.heartbeat(BEAT, [])
        assert await list_ids(two) == ["one", "two"]

    async def test_workers_are_listed_page_by_page(self, harness: LedgerHarness) -> None:
        """By id; the last page has no cursor."""
        names = ["B", "a", "a-1", "c", "\u00e9"]
        for name in reversed(names):
            await (await harness.open(name)).heartbeat(BEAT, [])
        ledger = await harness.open("command")
        first = await ledger.list_workers(limit=2)
        second = await ledger.list_workers(first.cursor, 2)
        third = await ledger.list_workers(second.cursor, 2)
        assert [[entry.id for entry in page.items] for page in (first, second, third)] == [
            names[:2],
            names[2:4],
            names[4:],
        ]
        assert third.cursor == ""
        assert (await ledger.list_workers(limit=len(names))).cursor == ""
