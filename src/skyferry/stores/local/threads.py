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


class Results:
    """What threads have done, handed over to the event loop that is running now."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._ready: deque[tuple[asyncio.Future[Any], Any, BaseException | None]] = deque()
        self._announced = False  # the loop has been told that there are results
        self._drained: asyncio.Future[None] | None = None
        self.pending = 0  # asked for and not yet handed over

    def expected(self) -> asyncio.Future[Any]:
        """One more, which MUST be added once it is there, also if it was cancelled meanwhile."""
        self.pending += 1
        return self._loop.create_future()

    async def drained(self) -> None:
        """Wait until all that were expected have been handed over."""
        while self.pending:
            self._drained = self._loop.create_future()
            await self._drained

    def add(self, future: asyncio.Future[Any], result: object, problem: BaseException | None) -> None:
        """From any thread; `announce` must follow."""
        self._ready.append((future, result, problem))

    def announce(self) -> None:
        """From any thread: see that what was added is handed over."""
        if self._ready and not self._announced:
            self._announced = True
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                self._loop.call_soon_threadsafe(self._deliver)

    def __len__(self) -> int:
        return len(self._ready)

    def _deliver(self) -> None:
        self._announced = False  # before they are taken: one that comes after the last is announced again
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
    """A fixed number of threads, started with the first call, all for one event loop."""

    def __init__(self, name: str, count: int) -> None:
        self._name, self._count = name, count
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._results: Results | None = None

    async def run(self, function: Callable[..., T], *args: object) -> T:
        """The result of `function(*args)`, or its exception. Cancelled before it has begun, it does not run."""
        if self._results is None:
            self._results = Results()
            self._threads = [started(f"{self._name}-{n}", self._work, self._results) for n in range(self._count)]
        future: asyncio.Future[T] = self._results.expected()
        self._jobs.put((future, function, args))
        return await future

    async def close(self) -> None:
        """Finish what has been asked for, and end. Idempotent."""
        threads, self._threads = self._threads, []
        for _ in threads:
            self._jobs.put(None)
        await joined(threads)

    def _work(self, results: Results) -> None:
        while (job := self._jobs.get()) is not None:
            future, function, args = job
            try:
                results.add(future, None if future.cancelled() else function(*args), None)
            except BaseException as problem:  # noqa: BLE001 - handed to the caller, who awaits it
                results.add(future, None, problem)
            results.announce()


def started(name: str, work: Callable[..., None], *args: object) -> threading.Thread:
    """A thread at work, which does not keep the process alive."""
    thread = threading.Thread(target=work, args=args, name=name, daemon=True)
    thread.start()
    return thread


async def joined(threads: list[threading.Thread]) -> None:
    """Wait until all of them have ended."""
    for thread in threads:
        await asyncio.to_thread(thread.join)
