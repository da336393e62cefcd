"""Concurrent requests within one call."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from skyferry.errors import QueueError

T = TypeVar("T")
PARALLEL = 16


async def run_all(calls: Sequence[Callable[[], Awaitable[T]]]) -> list[T]:
    """Return all results, PARALLEL calls at a time. A failure stops no other call, and is raised after the last has ended."""
    return _raise_first(await _gather(calls))


async def receive_more(calls: Sequence[Callable[[], Awaitable[list[T]]]]) -> list[T]:
    """Return the messages of further receives, after one that succeeded. A QueueError counts as no messages.

    Raising it would lose the messages received before. If the failure lasts, the next receive raises it.
    """
    results = await _gather(calls)
    return [one for found in _raise_first([r for r in results if not isinstance(r, QueueError)]) for one in found]


async def _gather(calls: Sequence[Callable[[], Awaitable[T]]]) -> list[T | BaseException]:
    gate = asyncio.Semaphore(PARALLEL)

    async def one(call: Callable[[], Awaitable[T]]) -> T:
        async with gate:
            return await call()

    return await asyncio.gather(*(one(call) for call in calls), return_exceptions=True)


def _raise_first(results: Sequence[T | BaseException]) -> list[T]:
    found: list[T] = []
    for result in results:
        if isinstance(result, BaseException):
            raise result
        found.append(result)
    return found
