"""Several requests of one call at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

T = TypeVar("T")
PARALLEL = 16


async def each(calls: Sequence[Callable[[], Awaitable[T]]]) -> list[T]:
    """All results, PARALLEL at a time; one that fails stops no other, and is raised when all have ended."""
    gate = asyncio.Semaphore(PARALLEL)

    async def one(call: Callable[[], Awaitable[T]]) -> T:
        async with gate:
            return await call()

    results = await asyncio.gather(*(one(call) for call in calls), return_exceptions=True)
    found: list[T] = []
    for result in results:
        if isinstance(result, BaseException):
            raise result
        found.append(result)
    return found
