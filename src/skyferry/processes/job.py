"""The job of a child."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from pathlib import Path

from skyferry.config.settings import Settings
from skyferry.frozen import dataclass
from skyferry.observe.logs import Level
from skyferry.processes.record_frames import Detail
from skyferry.stores.local.blocking.bucket import FolderIdentity


@dataclass(frozen=True, slots=True)
class WorkerJob:
    """The work of one child: take events from the queues of the settings, and copy."""

    settings: Settings  # with the child's share of the limits
    processes: int  # that share the work
    copy_ledger: Path | None = None  # of `skyferry copy`, whose queue is in the memory of the parent; None = a service
    folders: Mapping[str, FolderIdentity] = field(default_factory=dict)  # see `build_service`
    detail: Detail = "metrics"  # what is sent of records
    log_level: Level = "info"
    worker: str = ""  # the number of the process
