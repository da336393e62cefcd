"""One thread for many small system calls, which works while the event loop waits for it.

Each system call releases the interpreter's lock and takes it again. Where another thread wants the lock, each call passes it on and
waits for it, which took longer than the calls: a copy from folder to folder made 37 context switches, in twice the time of the
same copy on a single core. So one thread makes the calls of a turn, those that were requested in one iteration of the event loop,
while the event loop waits, and no other thread wants the lock. The wait is bounded: on a slow disk, or one that hangs, the event
loop continues, and more threads help. Only steps that the event loop waited for show how fast the disk is, because others also
wait for the interpreter's lock. Other threads flush, because flushes wait for the disk anyway (`bench.worker` measures it).
"""

from __future__ import annotations

import asyncio
import os
import queue
import threading
from collections import deque
from collections.abc import Callable, Generator
from contextlib import suppress
from typing import Any, TypeVar

from skyferry.errors import OutOfResources
from skyferry.frozen import dataclass
from skyferry.stores.local.flushing import Flushes
from skyferry.stores.local.threads import Results, joined
from skyferry.tasks.threads import start_thread

T = TypeVar("T")
Steps = Generator[int, None, T]  # yields file descriptors; each is flushed before the next step
TOGETHER = 64  # steps of a turn
DEFERRED = 3  # turns that may add to a flush before it begins
LONGEST_TURN = 0.02  # seconds for which the event loop waits, and waits again if they had enough steps. Otherwise the disk is slow:
PAUSES = 0.02, 0.2  # seconds in which the event loop does not wait: the first, and the longest, for they double
PATIENCE = 0.025  # seconds; if they did not have enough steps twice in a row while others wait, another thread helps
STEPS = 20  # are enough
HELPERS = 3


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
        self._requested: deque[_Job] = deque()  # for the next turns
        self._scheduled = False  # the next turn
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._flushes = Flushes(name, self._resume, anchor)
        self._threads: list[threading.Thread] = []
        self._helpers: list[threading.Thread] = []
        self._results: Results | None = None
        self._waits = False  # the event loop waits for the end of a turn
        self._ended: queue.SimpleQueue[None] = queue.SimpleQueue()  # turns
        self._slow_until = 0.0  # by the clock of the event loop
        self._pause = PAUSES[0]  # after the next turn that takes too long
        self._begun = 0  # steps, by the first thread
        self._stuck = -1  # the step for which the event loop waits no longer
        self._deferred = 0  # turns since the last flush began
        self._watch: asyncio.TimerHandle | None = None
        self._taken = 0  # steps begun, by all threads

    async def run(self, steps: Steps[T]) -> T:
        """Run the steps and return their result. If cancelled before they have started, they do not run.

        Raises OutOfResources if no thread can be started.
        """
        if self._results is None:
            results = Results()
            self._threads = [start_thread(self._name, self._work, results)]
            self._results = results
        future: asyncio.Future[T] = self._results.expected()
        self._requested.append(_Job(future, steps))
        self._schedule(self._results.loop.call_soon)
        try:
            return await future
        finally:
            del future  # it refers to an error, whose traceback refers to this frame

    async def close(self) -> None:
        """Finish all submitted steps, then end. Idempotent."""
        threads, self._threads = self._threads, []
        if self._results is not None:
            await self._results.drained()
        if threads:
            self._jobs.put(None)
            threads += self._flushes.stop()
        await joined(threads)

    def _schedule(self, call: Callable[[Callable[[], None]], object]) -> None:
        """Schedule the next turn, from any thread, for what was requested before."""
        if not self._scheduled:
            self._scheduled = True
            call(self._turn)

    def _turn(self) -> None:
        """Give the thread what was requested, and wait until it is done, unless the disk is slow."""
        self._scheduled = False  # before they are taken: a later request is scheduled again
        if self._results is None:
            return
        if not self._requested:  # the turn before has taken it, and its flush may wait for this one
            self._flush()
            return
        loop = self._results.loop
        fast = loop.time() >= self._slow_until and self._begun != self._stuck
        with suppress(queue.Empty):
            while True:  # the end of a turn for which the event loop waited no longer
                self._ended.get_nowait()
        self._waits = fast  # before the thread can end the turn
        for _ in range(min(len(self._requested), TOGETHER)):
            self._jobs.put(self._requested.popleft())
        if fast:
            fast = self._wait(loop.time)
            self._waits = False  # before the delivery: the thread announces later results itself
            self._results.deliver()
            loop.call_soon(self._flush)
        if not fast and self._watch is None:
            self._look(self._taken, 0)
        if self._requested:
            self._schedule(loop.call_soon)

    def _wait(self, clock: Callable[[], float]) -> bool:
        """Wait for the end of the turn. Return False if the disk is slow."""
        begun = -STEPS  # for the first wait
        while self._begun - begun >= STEPS:
            begun = self._begun
            with suppress(queue.Empty):
                self._ended.get(timeout=LONGEST_TURN)
                self._pause = PAUSES[0]
                return True
        self._stuck, self._slow_until = self._begun, clock() + self._pause
        self._pause = min(2 * self._pause, PAUSES[1])
        return False

    def _flush(self) -> None:
        """Begin the flush of what the last turns have written, unless the next turn adds to it."""
        self._deferred += 1
        if not self._scheduled or self._deferred > DEFERRED:
            self._deferred = 0
            self._flushes.begin()

    def _look(self, before: int, slow: int) -> None:
        """Watch the progress while steps are pending. Start a helper after two slow periods in a row (`slow`)."""
        if self._results is None or not self._results.pending:
            self._watch = None
            return
        if slow == 2:
            slow, self._helpers = 0, [helper for helper in self._helpers if helper.is_alive()]
            if len(self._helpers) < HELPERS:
                with suppress(OutOfResources):  # the first thread goes on alone
                    self._helpers.append(start_thread(f"{self._name}-help", self._help, self._results))
        self._watch = self._results.loop.call_later(PATIENCE, self._again, before, slow)

    def _again(self, before: int, slow: int) -> None:
        behind = self._taken - before < STEPS and not self._jobs.empty()
        self._look(self._taken, slow + 1 if behind else 0)

    def _work(self, results: Results) -> None:
        while True:
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                if self._waits:
                    self._ended.put(None)
                else:
                    self._flushes.begin()
                    results.announce()
                job = self._jobs.get()
            if job is None:
                return
            self._begun += 1
            self._step(job, results)
            if not self._waits:
                self._flushes.begin()
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
            self._flushes.begin()
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
            del job  # its future refers to the error, whose traceback refers to this frame
        else:
            self._flushes.request(file, job)

    def _resume(self, flushed: list[tuple[_Job, OSError | None]]) -> None:
        for job, failed in flushed:
            job.failed = failed
            self._requested.append(job)
        if self._results is not None:
            with suppress(RuntimeError):  # the loop is closed, so no caller is waiting
                self._schedule(self._results.loop.call_soon_threadsafe)


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
