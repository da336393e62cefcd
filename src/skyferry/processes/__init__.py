"""One command as several processes: the parent watches sources, serves the API and restarts; its children copy.

The modules are imported on first use: a command of one process needs none of them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from skyferry.config.settings import Settings
from skyferry.ports import EventQueue, Observer

if TYPE_CHECKING:
    from skyferry.processes.pool import OnLog, PoolJob, WorkerPool
    from skyferry.processes.record_frames import Detail


def prepare_processes(
    settings: Settings,
    count: int,
    copy_ledger: Path | None = None,
    open_queue: Callable[[], EventQueue] | None = None,
) -> PoolJob:
    """Return the job of `count` processes. Raises ConfigError if they cannot share what is configured.

    A copy has its own ledger, and a queue in the memory of this process: `open_queue` opens a client of it.
    """
    from skyferry.processes.counts import check_shareable, share_limits
    from skyferry.processes.job import WorkerJob
    from skyferry.processes.pool import PoolJob

    check_shareable(settings, queue_served=open_queue is not None)
    full = settings.log.level == "debug" or settings.tracing.otlp_endpoint
    detail: Detail = "progress" if copy_ledger else "all" if full else "metrics"
    job = WorkerJob(share_limits(settings, count), count, copy_ledger, detail=detail, log_level=settings.log.level)
    return PoolJob(job, settings.drain, open_queue)


def open_pool(job: PoolJob, observer: Observer, on_log: OnLog) -> WorkerPool:
    """Return the pool of processes for a job; it starts them when it runs."""
    from skyferry.clock import SystemClock
    from skyferry.processes.pool import WorkerPool

    return WorkerPool(job, observer, SystemClock(), on_log)
