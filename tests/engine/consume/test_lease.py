"""The lease of a claim ends by the worker's own monotonic clock."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from skyferry.engine.consume.attempt import Lease
from skyferry.errors import Fenced
from skyferry.tasks.group import TaskGroup
from skyferry.testing.clock import ManualClock


async def do(lease: Lease, work: Callable[[], Awaitable[None]]) -> None:
    """Work under the lease."""
    with lease:
        await work()


async def test_it_ends_at_its_time_and_a_renewal_moves_that() -> None:
    """A late answer to an earlier renewal does not move the end back."""
    clock = ManualClock()
    lease = Lease(clock.monotonic() + 30.0, clock.monotonic)
    await clock.advance(29.0)
    lease.ensure_held()
    lease.renew(clock.monotonic() + 30.0)
    lease.renew(clock.monotonic() + 5.0)
    await clock.advance(29.0)
    lease.ensure_held()
    await clock.advance(1.0)
    with pytest.raises(Fenced):
        lease.ensure_held()


async def test_a_lost_lease_stays_lost() -> None:
    """A renewal whose answer comes late does not give it back."""
    lease = Lease(lost=True)
    lease.renew(1e12)
    with pytest.raises(Fenced):
        lease.ensure_held()


async def test_work_under_way_is_aborted_at_the_end() -> None:
    """Not before; and while the work cleans up, the lease is no longer held."""
    clock, held, begun = ManualClock(), [], asyncio.Event()
    lease = Lease(clock.monotonic() + 30.0, clock.monotonic)

    async def work() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            held.append(lease.is_held)

    running = asyncio.create_task(do(lease, work))
    await begun.wait()
    await clock.advance(29.0)
    lease.abort_if_ended()
    await clock.advance(1.0)
    assert not running.done()
    lease.abort_if_ended()
    lease.abort_if_ended()
    with pytest.raises(Fenced):
        await running
    assert held == [False]
    with pytest.raises(Fenced):
        await do(lease, work)


async def test_a_cancelled_worker_is_not_a_lost_lease() -> None:
    """Also if both come at once; and the task can be used on after a lost lease."""
    lease, begun = Lease(0.0, lambda: -1.0), asyncio.Event()

    async def work() -> None:
        begun.set()
        await asyncio.Event().wait()

    async def survive() -> str:
        try:
            await do(lease, work)
        except Fenced:
            await asyncio.sleep(0)
            return "fenced"
        return "done"

    for cancelled in (False, True):
        lease = Lease(0.0, lambda: -1.0)
        begun.clear()
        running = asyncio.create_task(survive())
        await begun.wait()
        lease.ends = -2.0
        lease.abort_if_ended()
        if cancelled:
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
        else:
            assert await running == "fenced"


async def test_a_lease_that_ends_after_a_failure_of_a_group_is_lost() -> None:
    """While the work cleans up, such as by aborting the upload of which a part failed."""
    lease, failed = Lease(0.0, lambda: -1.0), asyncio.Event()

    async def fail() -> None:
        await asyncio.sleep(0)
        raise ValueError

    async def work() -> None:
        try:
            async with TaskGroup() as group:
                group.create_task(fail())
        except* ValueError:
            failed.set()
            await asyncio.Event().wait()

    running = asyncio.create_task(do(lease, work))
    await failed.wait()
    lease.ends = -2.0
    lease.abort_if_ended()
    with pytest.raises(Fenced):
        await running


async def test_no_work_begins_after_the_end() -> None:
    """Not even its first step."""
    clock, begun = ManualClock(), []

    async def work() -> None:
        begun.append(True)

    with pytest.raises(Fenced):
        await do(Lease(clock.monotonic(), clock.monotonic), work)
    assert not begun


async def test_a_timeout_of_the_work_itself_is_no_lost_lease() -> None:
    """It keeps its own type."""

    async def work() -> None:
        raise TimeoutError

    with pytest.raises(TimeoutError):
        await do(Lease(), work)
