"""Receivers whose clock is moved by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from skyferry.queues.notifier import Notifier

PATIENCE = 20.0  # seconds


async def until_receivers_wait(notifiers: Sequence[Notifier]) -> None:
    """Return once all receivers wait for a message: one that still asks its server would miss that the clock is moved."""
    async with asyncio.timeout(PATIENCE):
        while sum(len(notifier._waiting) for notifier in notifiers) < _count_receives():
            await asyncio.sleep(0.005)


def _count_receives() -> int:
    """Return the number of tasks that receive."""
    return sum(getattr(task.get_coro(), "__name__", "") == "receive" for task in asyncio.all_tasks())
