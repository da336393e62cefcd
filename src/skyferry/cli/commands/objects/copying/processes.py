"""`skyferry copy` in several processes: this one lists, and serves a queue to those that copy. All share the ledger."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from skyferry.cli.render import output, stalls
from skyferry.frozen import dataclass
from skyferry.model import State
from skyferry.ports import EventQueue, Observer
from skyferry.processes import growth, open_pool, prepare_processes
from skyferry.processes.growth import Growable, grow
from skyferry.processes.usage import UsageMeter
from skyferry.records import Record

if TYPE_CHECKING:
    from skyferry.cli.commands.objects.copying.request import CopyJob
    from skyferry.cli.render.copy_progress import CopyProgress
    from skyferry.config.settings import Settings
    from skyferry.engine.service import Service
    from skyferry.errors import SkyferryError
    from skyferry.processes.pool import PoolJob, WorkerPool
    from skyferry.processes.spares import SpareProcesses


@dataclass(frozen=True, slots=True)
class SharedCopy:
    """A copy by several processes."""

    job: CopyJob  # with the ledger in a file
    pool: PoolJob
    ledger: Path  # its file
    queue: EventQueue  # takes events


@contextmanager
def share_copy(job: CopyJob, ledger: Path | None, spares: SpareProcesses | None) -> Iterator[SharedCopy]:
    """Make a queue, and a ledger in a temporary folder if None is given. Raises as `prepare_processes`."""
    from tempfile import TemporaryDirectory

    with TemporaryDirectory(prefix="skyferry-") as scratch:
        file = ledger or Path(scratch) / "ledger.db"
        open_queue = job.make_queue()
        pool = _prepare_pool(job, job.processes, file, open_queue, spares)
        yield SharedCopy(replace(job, settings=_set_ledger(job.settings, file)), pool, file, open_queue())


def _prepare_pool(
    job: CopyJob, count: int, ledger: Path, open_queue: Callable[[], EventQueue], spares: SpareProcesses | None
) -> PoolJob:
    limited = stalls.limit_request_time(_set_ledger(job.settings, ledger), job.patience)
    pool = prepare_processes(limited, count, ledger, open_queue)
    return replace(pool, job=replace(pool.job, folders=job.folders), spares=spares)


def _set_ledger(settings: Settings, file: Path) -> Settings:
    url = f"sqlite://{quote(str(file.absolute()))}"
    return settings.model_copy(update={"ledger": settings.ledger.model_copy(update={"url": url})})


async def grow_copy(
    service: Service,
    job: CopyJob,
    ledger: Path,
    progress: CopyProgress,
    open_queue: Callable[[], EventQueue],
    opened: list[WorkerPool],
    spares: SpareProcesses | None,
) -> None:
    """Go on in several processes once that pays, and add them to `opened`. Cancel it at the end of the copy."""

    def open_held(count: int) -> WorkerPool:
        pool = replace(_prepare_pool(job, count, ledger, open_queue, spares), held=True)
        opened.append(open_copy_pool(pool, progress))
        return opened[-1]

    def warn(error: SkyferryError) -> None:
        print(output.escape_control(f"warning: this copy goes on in one process: {error}"), file=sys.stderr, flush=True)

    command = Growable(open_queue(), lambda: progress.found.whole, open_held, warn)
    await grow(service, command, job.settings.limits, growth.POLICY, UsageMeter())


def open_copy_pool(pool: PoolJob, progress: CopyProgress) -> WorkerPool:
    """Return the processes of a copy. `progress` counts what they report."""
    held = pool.job.settings.limits.max_in_flight_messages * pool.job.processes
    return open_pool(pool, UnreportedCopies(progress, 2 * held), _print_log)


class UnreportedCopies:
    """An observer that also counts objects whose process was killed between the ledger and its report.

    Their messages were not acknowledged, so another process finds them settled. It also finds those settled that were
    reported, but not acknowledged: these are among the last `most` keys.
    """

    def __init__(self, progress: Observer, most: int) -> None:
        self._progress, self._most = progress, most
        self._reported: dict[str, None] = {}  # destination keys, the latest last

    def on(self, record: Record) -> None:
        """Count a record."""
        if record.event == "transfer.duplicate" and record.key not in self._reported:
            if record.reason == State.DEAD:
                record = replace(
                    record, event="transfer.dead", error="unknown", message="the process that tried it ended"
                )
            else:
                record = replace(record, event="transfer.skipped", reason="current")
        if record.event in stalls.SETTLED:
            self._reported[record.key] = None
            if len(self._reported) > self._most:
                del self._reported[next(iter(self._reported))]
        self._progress.on(record)


def _print_log(event: str, level: str, values: Mapping[str, object]) -> None:
    """Print a warning of a library in another process."""
    print(output.escape_control(f"warning: {values.get('message', '')}"), file=sys.stderr, flush=True)
