"""One command as several processes: the parent watches sources, serves the API and restarts; its children copy.

The modules are imported on first use: a command of one process needs none of them.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from skyferry.config.settings import Settings
from skyferry.ports import Observer

if TYPE_CHECKING:
    from skyferry.processes.pool import OnLog, PoolJob, WorkerPool


def prepare_processes(settings: Settings, count: int, copy_ledger: Path | None = None) -> PoolJob:
    """Return the job of `count` processes. Raises ConfigError if they cannot share what is configured."""
    from skyferry.processes.counts import check_shareable, share_limits
    from skyferry.processes.job import WorkerJob
    from skyferry.processes.pool import PoolJob

    check_shareable(settings)
    full = settings.log.level == "debug" or bool(settings.tracing.otlp_endpoint)
    job = WorkerJob(share_limits(settings, count), count, copy_ledger, full, settings.log.level)
    return PoolJob(job, settings.drain)


def open_pool(job: PoolJob, observer: Observer, on_log: OnLog) -> WorkerPool:
    """Return the pool of processes for a job; it starts them when it runs."""
    from skyferry.clock import SystemClock
    from skyferry.processes.pool import WorkerPool

    return WorkerPool(job, observer, SystemClock(), on_log)
