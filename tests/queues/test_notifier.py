"""Receivers that wait are woken by notifications, by time, and by looks."""

from __future__ import annotations

import asyncio

import pytest

from skyferry.queues.notifier import Notifier
from skyferry.testing.clock import ManualClock


async def start_wait(notifier: Notifier, clock: ManualClock) -> asyncio.Task[None]:
    waiting = asyncio.create_task(notifier.wait(notifier.count, clock, 60.0))
    await clock.advance(1)
    assert not waiting.done()
    return waiting


async def test_a_notified_receiver_runs_in_the_next_iteration_but_one() -> None:
    """Each iteration of a busy event loop takes milliseconds: first the receiver resumes, then its caller."""
    notifier = Notifier()
    waiting = await start_wait(notifier, ManualClock())
    notifier.notify()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert waiting.done()


async def test_a_wait_leaves_no_task_behind() -> None:
    notifier, before = Notifier(), asyncio.all_tasks()
    waiting = await start_wait(notifier, ManualClock())
    notifier.notify()
    await waiting
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before


async def test_a_wait_ends_with_its_time() -> None:
    clock = ManualClock()
    waiting = await start_wait(Notifier(), clock)
    await clock.advance(60)
    assert waiting.done()


async def test_a_look_that_fails_ends_the_wait_with_its_error() -> None:
    clock, looks, notifier = ManualClock(), [False], Notifier()
    waiting = asyncio.create_task(notifier.wait(notifier.count, clock, 60.0, looks.pop, 1.0))
    await clock.advance(2)
    with pytest.raises(IndexError):
        await waiting
