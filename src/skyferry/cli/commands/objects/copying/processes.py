"""`skyferry copy --processes N`: this process lists, and serves a queue to those that copy. All share the ledger."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING
from urllib.parse import quote

from skyferry.cli.render import output, stalls
from skyferry.clock import SystemClock
from skyferry.frozen import dataclass
from skyferry.model import State
from skyferry.ports import EventQueue, Observer, Outgoing
from skyferry.ports.decorators import QueueDecorator
from skyferry.processes import open_pool, prepare_processes
from skyferry.queues.memory import MemoryQueue, QueueState
from skyferry.records import Record
from skyferry.wiring.copy_ledgers import mark_doubted

if TYPE_CHECKING:
    from skyferry.cli.commands.objects.copying.request import CopyJob
    from skyferry.cli.render.copy_progress import CopyProgress
    from skyferry.processes.pool import PoolJob, WorkerPool


@dataclass(frozen=True, slots=True)
class SharedCopy:
    """A copy by several processes."""

    job: CopyJob  # with the ledger in a file
    pool: PoolJob
    ledger: Path  # its file
    queue: EventQueue  # takes events


@contextmanager
def share_copy(job: CopyJob, ledger: Path | None) -> Iterator[SharedCopy]:
    """Make a queue, and a ledger in a temporary folder if None is given. Raises as `prepare_processes`."""
    with TemporaryDirectory(prefix="skyferry-") as scratch:
        file = ledger or Path(scratch) / "ledger.db"
        url = f"sqlite://{quote(str(file.absolute()))}"
        ledger_settings = job.settings.ledger.model_copy(update={"url": url})
        settings = job.settings.model_copy(update={"ledger": ledger_settings})
        limited = stalls.limit_request_time(settings, job.patience)
        (address,) = settings.queues
        open_queue = partial(MemoryQueue, address.name, SystemClock(), address.lease, QueueState())
        pool = prepare_processes(limited, job.processes, file, open_queue)
        yield SharedCopy(replace(job, settings=settings), pool, file, open_queue())


class SharedCopyQueue(QueueDecorator):
    """The queue of a copy, as the listing uses it: other processes learn of doubts by the id of an event."""

    def __init__(self, inner: EventQueue) -> None:
        super().__init__(inner)
        self._doubted: set[str] = set()

    def doubt(self, key: str) -> None:
        """Let the event of the next `send` for this destination key have an id that says so."""
        self._doubted.add(key)

    async def send(self, messages: Sequence[Outgoing]) -> list[str]:
        doubted, self._doubted = self._doubted, set()
        return await self.inner.send([_mark(message, doubted) for message in messages] if doubted else messages)


def _mark(message: Outgoing, doubted: Collection[str]) -> Outgoing:
    event = message.event
    if event is None or event.destination is None or event.destination.key not in doubted:
        return message
    return replace(message, event=replace(event, event_id=mark_doubted(event.event_id)))


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
