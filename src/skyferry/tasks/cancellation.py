"""Keeping a cancellation that a library loses."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


async def keep_cancellation(work: Awaitable[T]) -> T:
    """Return the result of `work`. Raise CancelledError if the task was cancelled meanwhile, whatever `work` made of that.

    A driver that loses a cancellation, such as while it connects, would keep a task alive that its owner waits for.
    """
    task = asyncio.current_task()
    assert task is not None
    before = task.cancelling()
    try:
        result = await work
    except Exception as error:
        if task.cancelling() > before:
            raise asyncio.CancelledError from error
        raise
    if task.cancelling() > before:
        raise asyncio.CancelledError
    return result
