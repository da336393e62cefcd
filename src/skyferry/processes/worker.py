"""The child's side: a service without sources, housekeeping and server, which reports to the parent."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from skyferry.clouds.identity.policy import LongLivedKeyWarning
from skyferry.engine.fleet.sources import EventSource
from skyferry.engine.service import Service
from skyferry.errors import SkyferryError
from skyferry.observe import capture_stdlib
from skyferry.observe.logs import Level
from skyferry.processes.channel import Channel
from skyferry.processes.job import WorkerJob
from skyferry.processes.record_frames import RecordBuffer
from skyferry.processes.shared_queue import QueueClient
from skyferry.wiring import SourceContext, build_service, copy_ledgers

TICK = 0.05  # seconds in which the records of a batch gather
REPORT = 1.0  # seconds between reports without a change
ORPHANED = 5.0  # seconds that a child without a parent has to give its leases back


class ForwardedLog:
    """Lines of libraries on their way to the parent's log. It has the methods of `LogObserver` that `capture_stdlib` uses."""

    def __init__(self, level: Level, loop: asyncio.AbstractEventLoop, channel: Channel) -> None:
        self.level, self._loop, self._channel = level, loop, channel

    def write(self, event: str, level: Level, values: Mapping[str, object]) -> None:
        """Send one line. Thread-safe."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._channel.send, "log", (event, level, dict(values)))


async def run_worker(end: socket.socket, when_built: Callable[[], None]) -> bool:
    """Do the parent's job until it asks for a drain, or ends. Return False if an error ended it, which the parent gets.

    `when_built` is called once everything is open.
    """
    channel = await Channel.open(end)
    try:
        if (first := await channel.receive()) is None:
            return True
        job: WorkerJob = first[1]
        with capture_stdlib(ForwardedLog(job.log_level, asyncio.get_running_loop(), channel)):
            failure = await _run_job(job, channel, when_built)
        if failure is not None:
            channel.send("failed", failure)
        return failure is None
    finally:
        await channel.close()


async def _run_job(job: WorkerJob, channel: Channel, when_built: Callable[[], None]) -> SkyferryError | None:
    """Return the error that ended the job, if any."""
    if job.copy_ledger:  # the parent lists with the same credentials
        warnings.simplefilter("ignore", LongLivedKeyWarning)
    records = RecordBuffer(job.detail, send=partial(channel.send, "records"))
    try:
        ledger = copy_ledgers.open_ledger(job.copy_ledger) if job.copy_ledger else None
        find = _find_nothing if job.copy_ledger else None  # a command: its provenance starts anew
        queue = _open_queue(job, channel) if job.copy_ledger else None
        queues = (queue,) if queue else ()
        async with build_service(
            job.settings, records, find=find, ledger=ledger, queues=queues, helpers=job.processes, expected=job.folders
        ) as service:
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, service.drain)
            when_built()
            await _serve(service, records, channel, queue)
    except (SkyferryError, ExceptionGroup) as problem:
        if (expected := _find_expected(problem)) is None:
            raise
        return expected
    finally:
        channel.send("records", records.take())
    return None


def _find_nothing(parts: SourceContext) -> Sequence[EventSource]:
    return ()


def _open_queue(job: WorkerJob, channel: Channel) -> QueueClient:
    """Return the queue in the memory of the parent, by the first settings of a queue."""
    address = job.settings.queues[0]
    return QueueClient(address.name, address.lease, partial(channel.send, "call"))


async def _serve(service: Service, records: RecordBuffer, channel: Channel, queue: QueueClient | None) -> None:
    begun = asyncio.Event()
    helpers = [
        asyncio.create_task(_listen(service, channel, begun, queue), name="parent"),
        asyncio.create_task(_report(service, records, channel), name="report"),
    ]
    try:
        await begun.wait()
        await service.run()
    finally:
        for task in helpers:
            task.cancel()
        await asyncio.gather(*helpers, return_exceptions=True)


async def _listen(service: Service, channel: Channel, begun: asyncio.Event, queue: QueueClient | None) -> None:
    """Follow the parent. Without one, give the leases back and end: another process takes the work over."""
    while (frame := await channel.receive()) is not None:
        name, value = frame
        if name == "answer":
            if queue is not None:
                queue.take_answer(value)
            continue
        if name == "drain":
            service.drain(value)
        begun.set()
    service.drain(0.0)
    if queue is not None:
        queue.fail()
    begun.set()
    await asyncio.sleep(ORPHANED)
    os._exit(1)


async def _report(service: Service, records: RecordBuffer, channel: Channel) -> None:
    """Send the records, and a report every second, and at once when the work begins or ends. An idle child waits for a record."""
    time = asyncio.get_running_loop().time
    due, idle = 0.0, None
    while True:
        if packed := records.take():
            channel.send("records", packed)
        if time() >= due or service.idle is not idle:
            due, idle = time() + REPORT, service.idle
            channel.send("report", service.report())  # goes through all that is in flight
        with contextlib.suppress(ConnectionError):  # `_listen` notices it too
            await channel.flush()
        if idle:
            await records.wait(due - time())
        await asyncio.sleep(TICK)


def _find_expected(problem: SkyferryError | ExceptionGroup[Exception]) -> SkyferryError | None:
    """Return the first error that Skyferry raised on purpose; None if another one is among them."""
    if isinstance(problem, SkyferryError):
        return problem
    if problem.split(SkyferryError)[1] is not None:
        return None
    first: Exception = problem
    while isinstance(first, ExceptionGroup):
        first = first.exceptions[0]
    assert isinstance(first, SkyferryError)
    return first
