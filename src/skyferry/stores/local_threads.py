"""Threads for calls that block, at a few microseconds per call.

`run_in_executor` costs 30 microseconds per call, as each result wakes the event loop by itself, and as much again where
the loop is busy. Here results that are ready at the same time are handed over together.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")
_Job = tuple["asyncio.Future[Any]", Callable[..., Any], tuple[object, ...]]


class Threads:
    """A fixed number of threads, started with the first call, all for one event loop."""

    def __init__(self, name: str, count: int) -> None:
        self._name, self._count = name, count
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._results: deque[tuple[asyncio.Future[Any], Any, BaseException | None]] = deque()
        self._announced = False  # the loop has been told that there are results
        self._threads: list[threading.Thread] = []
        self._loop: asyncio.AbstractEventLoop | None = None

    async def run(self, function: Callable[..., T], *args: object) -> T:
        """The result of `function(*args)`, or its exception. Cancelled before it has begun, it does not run."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
            self._threads = [
                threading.Thread(target=self._work, name=f"{self._name}-{n}", daemon=True) for n in range(self._count)
            ]
            for thread in self._threads:
                thread.start()
        future: asyncio.Future[T] = self._loop.create_future()
        self._jobs.put((future, function, args))
        return await future

    async def close(self) -> None:
        """Finish what has been asked for, and end. Idempotent."""
        threads, self._threads = self._threads, []
        for _ in threads:
            self._jobs.put(None)
        for thread in threads:
            await asyncio.to_thread(thread.join)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            future, function, args = job
            if future.cancelled():
                continue
            try:
                self._results.append((future, function(*args), None))
            except BaseException as problem:  # noqa: BLE001 - handed to the caller, who awaits it
                self._results.append((future, None, problem))
            if not self._announced:
                self._announced = True
                with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                    assert self._loop is not None
                    self._loop.call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        self._announced = False  # before they are taken: one that comes after the last is announced again
        while self._results:
            future, result, problem = self._results.popleft()
            if future.done():
                continue  # cancelled
            if problem is None:
                future.set_result(result)
            else:
                future.set_exception(problem)
