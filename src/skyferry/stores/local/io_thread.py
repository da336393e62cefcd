"""One thread for many small system calls, which avoids contention for the interpreter's lock.

Each system call releases the lock and takes it again. Among several threads with short calls, each call wakes another thread and
waits for it: small copies took twice the CPU time that way, at half the rate. So one thread makes all calls, and other threads
only flush, because flushes wait for the disk anyway (`bench.worker` measures it).
"""

from __future__ import annotations

import asyncio
import os
import queue
import threading
from collections.abc import Callable, Generator
from typing import Any, TypeVar

from skyferry.frozen import dataclass
from skyferry.stores.local.flushing import Flushes
from skyferry.stores.local.threads import Results, joined, started

T = TypeVar("T")
Steps = Generator[int, None, T]  # yields file descriptors; each is flushed before the next step
PATIENCE = 0.005  # seconds; if fewer steps than STEPS were done in them twice in a row while others wait,
STEPS = 5  # the disk is slow, and another thread helps
HELPERS = 3
TOGETHER = 16  # results delivered at a time, while there is more to do


@dataclass(slots=True)
class _Job:
    future: asyncio.Future[Any]
    steps: Steps[Any]
    begun: bool = False
    failed: OSError | None = None  # raised by the flush that it waited for


class Lane:
    """The small work of one event loop. Its threads start with the first call."""

    def __init__(self, name: str, anchor: Callable[[], int] = lambda: -1) -> None:
        """Take the name of its threads, and `anchor` of `Flushes`."""
        self._name = name
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._flushes = Flushes(name, self._resume, anchor)
        self._threads: list[threading.Thread] = []
        self._helpers: list[threading.Thread] = []
        self._results: Results | None = None
        self._watch: asyncio.TimerHandle | None = None
        self._taken = 0  # steps begun, by all threads

    async def run(self, steps: Steps[T]) -> T:
        """Run the steps and return their result. If cancelled before they have started, they do not run."""
        if self._results is None:
            self._results = results = Results()
            self._threads = [started(self._name, self._work, results)]
        future: asyncio.Future[T] = self._results.expected()
        self._jobs.put(_Job(future, steps))
        if self._watch is None:
            self._look(self._taken, 0)
        return await future

    async def close(self) -> None:
        """Finish all submitted steps, then end. Idempotent."""
        threads, self._threads = self._threads, []
        if self._results is not None:
            await self._results.drained()
        if threads:
            self._jobs.put(None)
            threads += self._flushes.stop()
        await joined(threads)

    def _look(self, before: int, slow: int) -> None:
        """Watch the progress while steps are pending. Start a helper after two slow periods in a row (`slow`)."""
        if self._results is None or not self._results.pending:
            self._watch = None
            return
        if slow == 2:
            slow, self._helpers = 0, [helper for helper in self._helpers if helper.is_alive()]
            if len(self._helpers) < HELPERS:
                self._helpers.append(started(f"{self._name}-help", self._help, self._results))
        loop = asyncio.get_running_loop()
        self._watch = loop.call_later(PATIENCE, self._again, before, slow)

    def _again(self, before: int, slow: int) -> None:
        behind = self._taken - before < STEPS and not self._jobs.empty()
        self._look(self._taken, slow + 1 if behind else 0)

    def _work(self, results: Results) -> None:
        while True:
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                results.announce()
                job = self._jobs.get()
            if job is None:
                return
            self._step(job, results)
            if len(results) >= TOGETHER:
                results.announce()

    def _help(self, results: Results) -> None:
        """Run steps until the queue is empty."""
        while True:
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                return
            if job is None:  # meant for the main thread
                self._jobs.put(None)
                return
            self._step(job, results)
            results.announce()

    def _step(self, job: _Job, results: Results) -> None:
        self._taken += 1
        if not job.begun and job.future.cancelled():
            job.steps.close()
            results.add(job.future, None, None)
            return
        job.begun, failed, job.failed = True, job.failed, None
        try:
            file = next(job.steps) if failed is None else job.steps.throw(failed)
        except StopIteration as done:
            results.add(job.future, done.value, None)
        except BaseException as problem:  # noqa: BLE001 - raised in the awaiting caller
            results.add(job.future, None, problem)
        else:
            self._flushes.request(file, job)

    def _resume(self, job: _Job, failed: OSError | None) -> None:
        job.failed = failed
        self._jobs.put(job)


def stepless(function: Callable[..., T]) -> Callable[..., Steps[T]]:
    """Wrap a function that does not flush, or flushes by itself, as steps."""

    def steps(*args: object) -> Steps[T]:
        yield from ()
        return function(*args)

    return steps


def through(steps: Steps[T]) -> T:
    """Run all steps in this thread, with their flushes."""
    try:
        file = next(steps)
        while True:
            try:
                os.fsync(file)
            except OSError as error:
                file = steps.throw(error)
            else:
                file = next(steps)
    except StopIteration as done:
        result: T = done.value
        return result
