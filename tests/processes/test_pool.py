"""The parent's view of its children."""

from __future__ import annotations

from skyferry.clock import SystemClock
from skyferry.config.load import load
from skyferry.engine.telemetry import NullObserver
from skyferry.processes.job import WorkerJob
from skyferry.processes.pool import PoolJob, WorkerPool
from skyferry.queues.memory import MemoryQueue, QueueState
from skyferry.status import WorkerReport


def make_pool(*, served: bool) -> WorkerPool:
    """Return a pool of two children, of which one reported that it is busy."""
    state, clock = QueueState(), SystemClock()
    open_queue = (lambda: MemoryQueue("q", clock, state=state)) if served else None
    pool = WorkerPool(PoolJob(WorkerJob(load(None, {}), 2), 1.0, open_queue), NullObserver(), clock, lambda *_: None)
    for slot, idle in zip(pool._slots, (True, False), strict=True):
        slot.report = WorkerReport(idle=idle)
    return pool


def test_children_are_idle_by_their_reports_which_come_late_or_by_the_queue_that_this_process_serves() -> None:
    """The queue has each message until it is settled, so nothing waits for a report of what it knows."""
    served, own = make_pool(served=True), make_pool(served=False)
    assert (served.idle, own.idle) == (True, False)
    for pool in (served, own):
        for slot in pool._slots:
            slot.report = WorkerReport(idle=True)
    assert (served.idle, own.idle) == (True, True)


def test_children_that_have_not_begun_are_not_idle() -> None:
    pool = make_pool(served=True)
    for slot in pool._slots:
        slot.report = None
    assert not pool.idle
