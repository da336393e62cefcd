"""A worker does what its roles ask for while their leases last, by its own clock."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

import pytest

from skyferry.engine.fleet.membership import EVERY, FleetMembership
from skyferry.engine.fleet.roles import Role, find_held
from skyferry.errors import LedgerError
from skyferry.ledgers.memory.ledger import MemoryLedger
from skyferry.ledgers.memory.state import MemoryState
from skyferry.ports import Heartbeat, WorkerState
from skyferry.records import Record
from skyferry.testing.clock import ManualClock

LEASE = 30.0


class CutOffLedger(MemoryLedger):
    """A ledger that a worker can be cut off from."""

    cut_off = False

    async def heartbeat(self, last: Heartbeat, wanted: Sequence[str]) -> list[str]:
        if self.cut_off:
            raise LedgerError("unreachable")
        return await super().heartbeat(last, wanted)


class Member:
    """A worker with one role, and what it does under it."""

    def __init__(self, name: str, clock: ManualClock, state: MemoryState, *, alone: bool = False) -> None:
        self.clock, self.state = clock, WorkerState.RUNNING
        self.ledger = CutOffLedger(name, clock, LEASE, state)
        self.records: list[Record] = []
        self.fleet = FleetMembership(self.ledger, clock, self, alone=alone)
        self.role = self.fleet.add_role("scan", finds_events=True)
        self.steps = self.begun = 0

    def on(self, record: Record) -> None:
        self.records.append(record)

    def events(self) -> list[str]:
        return [record.event for record in self.records]

    async def work(self) -> None:
        """Do something each second, as a scan does."""
        self.begun += 1
        while True:
            await self.role.confirm()
            self.steps += 1
            await self.clock.sleep(1.0)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        describe = lambda: Heartbeat("host", "1", "", 0.0, self.state)  # noqa: E731
        tasks = [asyncio.create_task(self.fleet.run(describe)), asyncio.create_task(self.role.run(self.work))]
        await self.clock.advance(0.0)
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            for task in tasks:
                with suppress(asyncio.CancelledError):
                    await task


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def one(clock: ManualClock) -> Member:
    return Member("one", clock, MemoryState())


@pytest.fixture
def two(clock: ManualClock, one: Member) -> Member:
    return Member("two", clock, one.ledger._state)


async def test_a_single_worker_has_its_roles_at_once_and_for_ever(one: Member, clock: ManualClock) -> None:
    async with one.running():
        assert one.steps == 1
        await clock.advance(10 * LEASE)
        assert (one.begun, one.steps) == (1, 10 * LEASE + 1)
        assert one.events() == ["role.taken"]


async def test_another_waits_until_the_holder_drains(one: Member, two: Member, clock: ManualClock) -> None:
    """It then has the role with its next heartbeat. The drained worker says so, and keeps sending heartbeats."""
    async with one.running(), two.running():
        await clock.advance(2 * LEASE)
        assert two.begun == 0
        one.state = WorkerState.DRAINING
        one.fleet.drain()
        await clock.advance(0.0)
        steps = one.steps
        await clock.advance(EVERY)
        assert (two.begun, one.steps) == (1, steps)
        assert await two.ledger.count_workers() == {WorkerState.RUNNING: 1, WorkerState.DRAINING: 1}
        await clock.advance(2 * LEASE)
        assert (await two.ledger.count_workers())[WorkerState.DRAINING] == 1
        assert "role.lost" not in one.events()


async def test_a_worker_that_is_cut_off_ends_before_another_begins(
    one: Member, two: Member, clock: ManualClock
) -> None:
    async with one.running(), two.running():
        await clock.advance(LEASE)
        one.ledger.cut_off = True
        while not two.begun:
            before = one.steps
            await clock.advance(0.5)
        assert before == one.steps, "it had ended some time before"
        assert find_held([one.role]) == {"scan": False}
        assert one.events() == ["role.taken", "role.lost"]
        one.ledger.cut_off = False
        await clock.advance(2 * LEASE)
        assert (one.steps, one.begun, two.begun) == (before, 1, 1)


async def test_a_worker_that_no_other_replaced_begins_again(one: Member, clock: ManualClock) -> None:
    """From the start, since it may have missed something."""
    async with one.running():
        one.ledger.cut_off = True
        await clock.advance(2 * LEASE)
        steps = one.steps
        assert steps < LEASE + 1
        one.ledger.cut_off = False
        await clock.advance(EVERY)
        assert (one.begun, one.events()) == (2, ["role.taken", "role.lost", "role.taken"])
        assert one.steps > steps


async def test_a_worker_that_was_stopped_does_nothing_more(one: Member, two: Member, clock: ManualClock) -> None:
    """All its timers are overdue at once; that of its work comes first."""
    async with one.running():
        await clock.advance(0.5)
        steps = one.steps
        clock._now += 2 * LEASE  # no task of it runs
        overdue = sorted(clock._sleepers)  # by their deadlines, as an event loop wakes them
        clock._sleepers = [(max(end, clock._now), number, f) for number, (end, _, f) in enumerate(overdue)]
        assert await two.ledger.heartbeat(Heartbeat("host", "1", "", 0.0), ["scan"]) == ["scan"]
        await clock.advance(EVERY)
        assert one.steps == steps
        assert one.events()[-1] == "role.lost"


async def test_an_answer_that_comes_late_does_not_prolong_the_lease(one: Member, clock: ManualClock) -> None:
    """The lease counts from before the heartbeat was sent."""
    one.role.grant(clock.monotonic() + 10.0)
    one.role.grant(clock.monotonic() + 5.0)
    assert one.role.left == 10.0


async def test_a_command_works_without_roles(clock: ManualClock) -> None:
    """It is no worker, and takes no role from one."""
    alone = Member("alone", clock, MemoryState(), alone=True)
    async with alone.running():
        await clock.advance(LEASE)
        assert alone.steps == LEASE + 1
        assert (await alone.ledger.list_workers()).items == []
        assert find_held(alone.fleet.roles) == {}


async def test_sources_are_waived_by_a_process_that_ends_when_idle(
    one: Member, two: Member, clock: ManualClock
) -> None:
    """Beside a worker that has the role; other roles stay shared."""
    other = two.fleet.add_role("gauges")
    two.fleet.waive_sources()
    async with one.running(), two.running():
        await clock.advance(EVERY)
        assert (one.begun, two.begun) == (1, 1)
        assert other.is_held
        assert {role.name: entry.id for entry in (await one.ledger.list_workers()).items for role in entry.roles} == {
            "scan": "one",
            "gauges": "two",
        }


async def test_an_error_of_the_work_ends_it(clock: ManualClock) -> None:
    """As if it ran without a role."""
    role = Role("scan", clock, lambda name, why: None)
    role.grant(clock.monotonic() + 5.0)

    async def fail() -> None:
        raise LedgerError("no")

    with pytest.raises(LedgerError):
        await role.run(fail)
