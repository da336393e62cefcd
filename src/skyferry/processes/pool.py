"""The parent's side: start the children, take their records and reports, start them again, and drain them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from skyferry.errors import InternalError, OutOfResources, SkyferryError
from skyferry.frozen import dataclass
from skyferry.observe.logs import Level
from skyferry.ports import Clock, EventQueue, Observer
from skyferry.processes.child_process import ChildProcess, start_child
from skyferry.processes.job import WorkerJob
from skyferry.processes.record_frames import unpack_records
from skyferry.processes.shared_queue import QueueServer
from skyferry.processes.spares import SpareProcesses
from skyferry.queues.even_shares import EvenShares
from skyferry.records import Record
from skyferry.retry import Backoff
from skyferry.status import QueueBytes, WorkerReport, merge_backlogs, merge_oldest

RESTART = Backoff(1.0, 30.0)  # bounds of the seconds before a child is started again
STEADY = 60.0  # seconds after which a child counts as having run well
TRIES = 3  # ends of a child after which the command ends, if no child could ever begin
UNABLE = "see the messages above; run it without --processes to rule out the processes"
LATE = 10.0  # seconds beyond the grace time after which a child is killed
ALL_READY = 10.0  # seconds that the first children wait for each other before they take work
OnLog = Callable[[str, Level, Mapping[str, object]], None]  # see `LogObserver.write`


@dataclass(frozen=True, slots=True)
class PoolJob:
    """The work of a pool."""

    job: WorkerJob  # of each child
    drain: float  # seconds for transfers in flight
    open_queue: Callable[[], EventQueue] | None = None  # opens a client for each child of a queue in memory
    backoff: Backoff = RESTART
    spares: SpareProcesses | None = None  # the first children
    held: bool = False  # children wait for `WorkerPool.begin`; one that ends before all are ready ends the pool


@dataclass(slots=True)
class _Slot:
    """One child after the other, under one number."""

    worker: str
    child: ChildProcess | None = None
    report: WorkerReport | None = None  # of the child that runs now
    failures: int = 0  # in a row


class WorkerPool:
    """The worker of a service whose work is done by child processes. It has the methods of `Worker` that a service uses."""

    def __init__(self, job: PoolJob, observer: Observer, clock: Clock, on_log: OnLog) -> None:
        """`on_log` takes the lines of libraries in the children."""
        self._job, self._observer, self._clock, self._on_log = job, observer, clock, on_log
        self._slots = [_Slot(str(number + 1)) for number in range(job.job.processes)]
        self._stop, self._grace = asyncio.Event(), job.drain
        self._all_ready, self._begun = asyncio.Event(), asyncio.Event()
        self._proven = False  # a child was ready once, so that the job can be done
        self.failed = False  # a child ended by an error or a signal during the drain

    @property
    def reports(self) -> list[WorkerReport]:
        """The last report of each child that runs."""
        return [slot.report for slot in self._slots if slot.report is not None]

    @property
    def in_flight(self) -> int:
        """The number of transfers in flight, as last reported."""
        return sum(report.in_flight for report in self.reports)

    @property
    def arrivals(self) -> int:
        """The number of transfers so far, as last reported by the children that run now."""
        return sum(report.arrivals for report in self.reports)

    @property
    def idle(self) -> bool:
        """True if no child processes a message, as last reported. A child that was killed has none; the queue knows its own.

        A queue in memory knows at once: it has each message until that is settled.
        """
        settled_last = self._job.open_queue is not None
        return bool(self.reports) and (settled_last or all(report.idle for report in self.reports))

    @property
    def draining(self) -> bool:
        """True once no new work is taken."""
        return self._stop.is_set()

    def list_claimed(self) -> list[tuple[str, str]]:
        """Return nothing: each child is a worker that lists its own."""
        return []

    def oldest(self) -> dict[str, float]:
        """Return the time of the oldest unsettled event in flight, by route (seconds since 1970)."""
        return merge_oldest(report.oldest for report in self.reports)

    def backlog(self) -> dict[str, QueueBytes]:
        """Return the bytes of each queue's messages, as last reported."""
        return merge_backlogs([report.backlog for report in self.reports])

    def drain(self, grace: float | None = None) -> None:
        """Let all children take no more work, finish what has begun within `grace` seconds if given, and end. Idempotent."""
        if grace is not None:
            self._grace = grace
        self._stop.set()
        for slot in self._slots:
            if slot.child is not None:
                slot.child.channel.send("drain", grace)

    def kill(self) -> None:
        """End all children at once."""
        for slot in self._slots:
            if slot.child is not None:
                slot.child.kill()

    async def wait_until_ready(self) -> None:
        """Wait until all children could take work."""
        await self._all_ready.wait()

    def begin(self) -> None:
        """Let the children take work."""
        self._begun.set()

    async def run(self) -> None:
        """Keep the children running until all have drained. If it is cancelled, it ends them at once.

        Raises the error of a child that could not begin, unless another one has; InternalError if it gave none.
        """
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._keep_running(s), name=f"process {s.worker}") for s in self._slots]
                gate = None if self._job.held else group.create_task(self._open_gate(), name="begin together")
                await asyncio.wait(tasks)
                if gate is not None:
                    gate.cancel()
        finally:
            self.kill()

    async def _open_gate(self) -> None:
        """Let the first children take work together, so that the first one does not lease everything."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ALL_READY):
                await self._all_ready.wait()
        self.begin()

    async def _keep_running(self, slot: _Slot) -> None:
        while not self._stop.is_set():
            began = self._clock.monotonic()
            try:
                end = await self._run_child(slot)
            except OSError as error:  # no process or no file descriptor is left
                if not self._proven:
                    raise OutOfResources(
                        f"a process cannot be started: {error.strerror}", hint="see ulimit -a"
                    ) from error
                end = f"it cannot be started: {error.strerror}"
            if self._stop.is_set():
                self.failed = self.failed or bool(end)
                if end:
                    self._observer.on(Record("process.ended", worker=slot.worker, message=end))
                return
            slot.failures = 1 if self._clock.monotonic() - began >= STEADY else slot.failures + 1
            if self._job.held and not self._all_ready.is_set():
                raise InternalError(f"process {slot.worker} ended before it could begin: {end or 'exit code 0'}")
            if slot.failures == TRIES and not self._proven:
                raise InternalError(
                    f"process {slot.worker} ended {TRIES} times before it could begin: {end}", hint=UNABLE
                )
            delay = self._job.backoff.ceiling(slot.failures)
            self._observer.on(Record("process.ended", worker=slot.worker, message=end or "it drained", delay=delay))
            await self._wait_for_stop(delay)

    async def _wait_for_stop(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stop.wait()

    async def _run_child(self, slot: _Slot) -> str:
        """Run one child to its end. Return how it failed; "" if it drained. Raises OSError, and as `run`."""
        child = await start_child(replace(self._job.job, worker=slot.worker), self._job.spares)
        slot.child = child
        if self._stop.is_set():
            child.channel.send("drain", self._grace)
        self._observer.on(Record("process.started", worker=slot.worker, message=f"pid {child.pid}"))
        beginner = asyncio.create_task(self._begin(child), name=f"begin {slot.worker}")
        killer = asyncio.create_task(self._kill_late(child), name=f"end {slot.worker}")
        try:
            failure = await self._serve(slot, child)
            end = await child.wait()
        finally:
            beginner.cancel()
            killer.cancel()
            child.kill()
            slot.child = slot.report = None
            await child.close()
        if failure is not None and not self._proven and not self._stop.is_set():
            raise failure
        return str(failure) if failure is not None else end

    async def _begin(self, child: ChildProcess) -> None:
        await self._begun.wait()
        child.channel.send("begin")

    async def _kill_late(self, child: ChildProcess) -> None:
        await self._stop.wait()
        await asyncio.sleep(self._grace + LATE)
        child.kill()

    async def _serve(self, slot: _Slot, child: ChildProcess) -> SkyferryError | None:
        """Take what the child sends, to its end, and make its calls of the queue. Return the error that ended it."""
        if self._job.open_queue is None:
            return await self._take_frames(slot, child)
        queue = EvenShares(self._job.open_queue(), len(self._slots), self._clock)
        server = QueueServer(queue, partial(child.channel.send, "answer"))
        try:
            return await self._take_frames(slot, child, server)
        finally:
            await server.close()

    async def _take_frames(
        self, slot: _Slot, child: ChildProcess, queue: QueueServer | None = None
    ) -> SkyferryError | None:
        failure = None
        while (frame := await child.channel.receive()) is not None:
            name, value = frame
            if name == "records":
                self._take_records(value, slot.worker)
            elif name == "call" and queue is not None:
                await queue.take_call(value)
            elif name == "report":
                self._proven, slot.report = True, value
                if len(self.reports) == len(self._slots):
                    self._all_ready.set()
            elif name == "log":
                event, level, values = value
                self._on_log(event, level, {**values, "worker": slot.worker})
            elif name == "failed":
                failure = value
        return failure

    def _take_records(self, packed: Sequence[Any], worker: str) -> None:
        for record in unpack_records(packed, worker, self._job.job.detail):
            self._observer.on(record)
