"""One thread for much small work, so that the interpreter's lock stays where it is.

Each system call gives the lock up and takes it back. Among several threads that do short ones, each call wakes another
thread and waits for it: small copies took twice the processor's time that way, and came to half the rate. So one thread
does them all, and leaves to others only what waits for the disk anyway: the flushes (`bench.worker` measures it).
"""

from __future__ import annotations

import asyncio
import os
import queue
import threading
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, TypeVar

from skyferry.stores.local.threads import Results, joined, started

T = TypeVar("T")
Steps = Generator[int, None, T]  # yields file descriptors, each of which is flushed before it goes on
PATIENCE = 0.005  # seconds; where twice in a row fewer than so many steps were done in them, and more wait,
STEPS = 5  # the disk is slow, and another thread helps
HELPERS = 3
FLUSHERS = 4
TOGETHER = 16  # results handed over at a time, while there is more to do


@dataclass(slots=True)
class _Job:
    future: asyncio.Future[Any]
    steps: Steps[Any]
    begun: bool = False
    failed: OSError | None = None  # what the flush that it waited for has raised


class Lane:
    """For one event loop; its threads start with the first call."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._flushes: queue.SimpleQueue[tuple[_Job, int] | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._helpers: list[threading.Thread] = []
        self._results: Results | None = None
        self._watch: asyncio.TimerHandle | None = None
        self._taken = 0  # steps begun, by whichever thread

    async def run(self, steps: Steps[T]) -> T:
        """Their result, or their exception. Cancelled before they have begun, they do not run."""
        if self._results is None:
            self._results = results = Results()
            flushers = [started(f"{self._name}-flush-{n}", self._flush) for n in range(FLUSHERS)]
            self._threads = [started(self._name, self._work, results), *flushers]
        future: asyncio.Future[T] = self._results.expected()
        self._jobs.put(_Job(future, steps))
        if self._watch is None:
            self._look(self._taken, 0)
        return await future

    async def close(self) -> None:
        """Finish what has been asked for, and end. Idempotent."""
        threads, self._threads = self._threads, []
        if self._results is not None:
            await self._results.drained()
        if threads:
            self._jobs.put(None)
            for _ in range(FLUSHERS):
                self._flushes.put(None)
        await joined(threads)

    def _look(self, before: int, slow: int) -> None:
        """As long as anything is under way, see that it goes on: `slow` times in a row it did not."""
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
        """Until nothing is left to take."""
        while True:
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                return
            if job is None:  # not ours
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
        except BaseException as problem:  # noqa: BLE001 - handed to the caller, who awaits it
            results.add(job.future, None, problem)
        else:
            self._flushes.put((job, file))

    def _flush(self) -> None:
        while (asked := self._flushes.get()) is not None:
            job, file = asked
            try:
                os.fsync(file)
            except OSError as error:
                job.failed = error
            self._jobs.put(job)


def stepless(function: Callable[..., T]) -> Callable[..., Steps[T]]:
    """As steps, what flushes nothing or does it by itself."""

    def steps(*args: object) -> Steps[T]:
        yield from ()
        return function(*args)

    return steps


def through(steps: Steps[T]) -> T:
    """Do them here, flushes and all."""
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
