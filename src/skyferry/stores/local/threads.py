"""Threads for blocking calls, at a few microseconds per call.

`run_in_executor` costs 30 microseconds per call, because each result wakes the event loop separately, and twice that when the
loop is busy. Here, results that are ready at the same time are delivered together.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from skyferry.errors import OutOfResources
from skyferry.tasks.threads import call_aside, start_thread

T = TypeVar("T")
_Job = tuple["asyncio.Future[Any]", Callable[..., Any], tuple[object, ...]]


class Results:
    """Results of threads, delivered to the event loop that is running when this is created."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._ready: deque[tuple[asyncio.Future[Any], Any, BaseException | None]] = deque()
        self._announced = False  # a delivery is scheduled on the loop
        self._drained: asyncio.Future[None] | None = None
        self.pending = 0  # expected and not yet delivered

    def expected(self) -> asyncio.Future[Any]:
        """Return the future of one more result, which MUST be added even if the future is cancelled."""
        self.pending += 1
        return self.loop.create_future()

    async def drained(self) -> None:
        """Wait until all expected results have been delivered."""
        while self.pending:
            self._drained = self.loop.create_future()
            await self._drained

    def add(self, future: asyncio.Future[Any], result: object, problem: BaseException | None) -> None:
        """Add a result, from any thread. `announce` must follow."""
        self._ready.append((future, result, problem))

    def announce(self) -> None:
        """Schedule the delivery of added results, from any thread."""
        if self._ready and not self._announced:
            self._announced = True
            with suppress(RuntimeError):  # the loop is closed, so no caller is waiting
                self.loop.call_soon_threadsafe(self.deliver)

    def deliver(self) -> None:
        """Deliver all results that were added. Call it on the event loop."""
        self._announced = False  # before they are taken: a later result is announced again
        while self._ready:
            future, result, problem = self._ready.popleft()
            self.pending -= 1
            if future.done():
                continue  # cancelled
            if problem is None:
                future.set_result(result)
            else:
                future.set_exception(problem)
        if not self.pending and self._drained and not self._drained.done():
            self._drained.set_result(None)


class Threads:
    """Up to `count` threads for one event loop. Each starts with the first call that finds no other idle."""

    def __init__(self, name: str, count: int) -> None:
        self._name, self._count = name, count
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._results: Results | None = None

    async def run(self, function: Callable[..., T], *args: object) -> T:
        """Run `function(*args)` in a thread. If cancelled before it has started, it does not run.

        Raises OutOfResources if no thread can be started and there is none.
        """
        if self._results is None:
            self._results = Results()
        if self._results.pending >= (begun := len(self._threads)) < self._count:
            try:
                self._threads.append(start_thread(f"{self._name}-{begun}", self._work, self._results))
            except OutOfResources:
                if not begun:
                    raise
        future: asyncio.Future[T] = self._results.expected()
        self._jobs.put((future, function, args))
        return await future

    async def close(self) -> None:
        """Finish all submitted calls, then end. Idempotent."""
        threads, self._threads = self._threads, []
        for _ in threads:
            self._jobs.put(None)
        await joined(threads)

    def _work(self, results: Results) -> None:
        while (job := self._jobs.get()) is not None:
            future, function, args = job
            try:
                results.add(future, None if future.cancelled() else function(*args), None)
            except BaseException as problem:  # noqa: BLE001 - raised in the awaiting caller
                results.add(future, None, problem)
            results.announce()


async def joined(threads: list[threading.Thread]) -> None:
    """Wait until all of them have ended."""

    def join() -> None:
        for thread in threads:
            thread.join()

    if threads:
        await call_aside(join)
