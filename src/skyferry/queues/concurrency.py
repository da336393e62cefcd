"""Several requests of one call at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from skyferry.errors import QueueError

T = TypeVar("T")
PARALLEL = 16


async def each(calls: Sequence[Callable[[], Awaitable[T]]]) -> list[T]:
    """All results, PARALLEL at a time; one that fails stops no other, and is raised when all have ended."""
    return _raised(await _ended(calls))


async def more(calls: Sequence[Callable[[], Awaitable[list[T]]]]) -> list[T]:
    """What they bring besides what has come already, and must not be lost with an error: a QueueError of theirs brings nothing.

    If it lasts, the next call raises it.
    """
    results = await _ended(calls)
    return [one for found in _raised([r for r in results if not isinstance(r, QueueError)]) for one in found]


async def _ended(calls: Sequence[Callable[[], Awaitable[T]]]) -> list[T | BaseException]:
    gate = asyncio.Semaphore(PARALLEL)

    async def one(call: Callable[[], Awaitable[T]]) -> T:
        async with gate:
            return await call()

    return await asyncio.gather(*(one(call) for call in calls), return_exceptions=True)


def _raised(results: Sequence[T | BaseException]) -> list[T]:
    found: list[T] = []
    for result in results:
        if isinstance(result, BaseException):
            raise result
        found.append(result)
    return found
