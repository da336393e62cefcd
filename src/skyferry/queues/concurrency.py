"""Concurrent requests within one call."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TypeVar

from skyferry.errors import QueueError

T = TypeVar("T")
PARALLEL = 16


async def run_all(calls: Sequence[Callable[[], Awaitable[T]]]) -> list[T]:
    """Return all results, PARALLEL calls at a time. A failure stops no other call, and is raised after the last has ended."""
    return _raise_first(await _gather(calls))


async def receive_rest(first: list[T], receive: Callable[[int], Awaitable[list[T]]], limit: int, batch: int) -> list[T]:
    """Return `first`, the messages of one receive, and, if it was a full `batch`, further ones, up to `limit` in all.

    A QueueError counts as no messages: raising it would lose those received before. If the failure lasts, the next receive
    raises it.
    """
    if len(first) < batch:
        return first
    sizes = [min(batch, limit - start) for start in range(batch, limit, batch)]
    results = await _gather([partial(receive, size) for size in sizes])
    rest = _raise_first([r for r in results if not isinstance(r, QueueError)])
    return [*first, *(one for found in rest for one in found)]


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
