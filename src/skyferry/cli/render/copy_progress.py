"""The output of `skyferry copy`: counts by outcome, a progress bar, a summary."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager
from dataclasses import field
from typing import TYPE_CHECKING, Any

from skyferry.cli.render import output
from skyferry.cli.render.failures import FailureReport
from skyferry.cli.render.stalls import PROGRESS, SETTLED, Stalls
from skyferry.discovery.listing import ListingProgress
from skyferry.frozen import dataclass
from skyferry.records import PRESENT, Record

if TYPE_CHECKING:
    from rich.progress import Progress

    from skyferry.errors import SkyferryError

WIDE = 80  # columns of a terminal with room for a bar and the remaining time
LINES = 5.0  # seconds between lines of progress without a terminal
WRITES = ("write", "write_part", "copy_from", "copy_part")
LOOKS = ("head", "list", "uploads")  # operations that any other answer shows to work
LEDGER = "ledger"  # is waited for like a store
BREAKER = "breaker"  # the reason for waiting, in place of a kind of error
THERE = ("current", "superseded", "marker")  # the destination has this version, a newer one, or the folder


@dataclass(slots=True)
class CopyProgress:
    """An observer that counts one run."""

    verbose: bool = False  # print a line for each object
    quiet: bool = False  # print errors only
    dry: bool = False  # nothing was changed
    found: ListingProgress = field(default_factory=ListingProgress)
    copied: int = 0
    copied_bytes: int = 0
    present: int = 0  # found at the destination during the copy
    gone: int = 0  # deleted after the listing
    special: int = 0  # links, FIFOs, sockets and devices
    retried: int = 0
    deleted: int = 0  # from the destination
    deleted_bytes: int = 0
    withheld: int = 0  # deletes that were not made
    moved: int = 0  # bytes written so far, of unfinished objects too
    failures: FailureReport = field(default_factory=FailureReport)
    lossy: str = ""  # what the destination cannot store, whatever there is
    lost: dict[str, None] = field(default_factory=dict)  # what it could not store of the copied objects, in order
    began: float = field(default_factory=time.monotonic)
    waiting: dict[str, str] = field(default_factory=dict)  # kinds of the last errors of what is unavailable, or LEDGER
    operations: dict[str, str] = field(default_factory=dict)  # of these stores, the operation that failed
    stalls: Stalls = field(default_factory=Stalls)

    def on(self, record: Record) -> None:
        """Count a record."""
        if record.event == "store.request":
            if not record.error:
                self._count_request(record)
        elif record.event != "event.received":  # the listing counts these objects
            self.stalls.on(record)
            if record.event in SETTLED and LEDGER in self.waiting:
                self._report_recovery(LEDGER)
            self._count_step(record)

    def _count_request(self, record: Record) -> None:
        """Count what a request has written. An answer shows that its store is available again."""
        operation = record.operation
        if operation in WRITES:
            self.moved += record.bytes or 0
        if operation in PROGRESS:
            self.stalls.note_progress()
        if self.waiting.get(record.store, BREAKER) != BREAKER:
            failed = self.operations.get(record.store, "")
            if failed in (operation, *LOOKS):
                self._report_recovery(record.store)

    def _count_step(self, record: Record) -> None:
        match record.event:
            case "transfer.claimed":
                pass  # `stalls` keeps it
            case "transfer.done" if record.reason == PRESENT:  # the ledger did not know it
                self.present += 1
            case "transfer.done":
                self.copied += 1
                self.copied_bytes += record.bytes or 0
                if record.message:
                    self.lost.update(dict.fromkeys(record.message.split("; ")))
                self._report("copied", record.key, record.bytes or 0)
            case "transfer.skipped" if record.reason == "gone":
                self.gone += 1
            case "transfer.skipped" if record.reason in THERE:
                self.present += 1
            case "transfer.retry":
                self.retried += 1
            case "transfer.skipped" | "transfer.dead" | "message.dead":
                self._fail(record)
            case "watch.unreadable" if record.store == "source":  # the listing omits it
                self._fail(record)
            case "process.ended" if record.delay is not None:
                self._print(f"process {record.worker} ended ({record.message}); another one takes its work over")
            case "route.metadata_lost":
                self.lossy = record.message
            case _:
                self._count_store(record)

    def _count_store(self, record: Record) -> None:
        """Count its special files, and report when it is unavailable."""
        match record.event:
            case "store.special_file" if record.store == "source":
                self.special += 1
            case "ledger.failed":
                self._report_wait(LEDGER, record.error, record.message)
            case "store.retry" if record.message:
                self.operations[record.store] = record.operation
                self._report_wait(record.store, record.error, _explain(record))
            case "breaker.changed" if record.reason == "open" and record.store not in self.waiting:
                self._report_wait(record.store, BREAKER, f"several consecutive requests failed: {_explain(record)}")
            case "breaker.changed" if record.reason == "closed" and record.store in self.waiting:
                self._report_recovery(record.store)

    def _report_wait(self, store: str, error: str, message: str) -> None:
        """Report once for each kind of error that a store is unavailable."""
        if self.waiting.get(store) != error:
            self.waiting[store] = error
            self._print(f"waiting for the {store}: {message}")

    def _report_recovery(self, store: str) -> None:
        del self.waiting[store]
        self._print(f"the {store} responds again")

    def count_rejected(self, key: str, error: SkyferryError) -> None:
        """Count an object whose copy was not attempted, or whose delete failed."""
        self.failures.add_error(key, error)

    def count_deleted(self, key: str, size: int) -> None:
        """Count an object that was deleted from the destination."""
        self.deleted += 1
        self.deleted_bytes += size
        self._report("deleted", key, size)

    def _fail(self, record: Record) -> None:
        self.failures.add(record.key, record.error or record.reason or "unreadable", record.message, record.hint)

    def _report(self, word: str, key: str, size: int) -> None:
        if self.verbose:
            self._print(f"{word} {key} ({output.format_size(size)})")

    def _print(self, line: str) -> None:
        if not self.quiet:
            print(output.escape_control(line), file=sys.stderr, flush=True)

    @property
    def failed(self) -> int:
        """The number of failures."""
        return self.failures.count

    @property
    def there(self) -> int:
        """The number of objects that need no copy."""
        return self.found.present + self.present

    @property
    def complete(self) -> bool:
        """True if every listed object that still exists is at the destination."""
        return (
            self.found.whole
            and not (self.failed or self.withheld)
            and (self.copied + self.there + self.gone + self.found.kept >= self.found.objects)
        )

    @property
    def seconds(self) -> float:
        """The seconds since the start."""
        return time.monotonic() - self.began

    def to_document(self, source: str, destination: str) -> dict[str, object]:
        """Return the JSON document."""
        return {
            "source": source,
            "destination": destination,
            "complete": self.complete,
            "objects": {
                "listed": self.found.objects,
                "copied": self.copied,
                "present": self.there,
                "kept": self.found.kept,
                "excluded": self.found.excluded,
                "deleted": self.deleted,
                "withheld": self.withheld,
                "gone": self.gone,
                "failed": self.failed,
                "special": self.special,
            },
            "bytes": {"listed": self.found.bytes, "copied": self.copied_bytes, "deleted": self.deleted_bytes},
            "retries": self.retried,
            "seconds": round(self.seconds, 3),
            "failures": self.failures.first,
            "lossy": self.lossy,
        }

    def print_summary(self) -> None:
        """Print the results to standard output and the failures to standard error."""
        if not self.quiet:
            output.print_lines(", ".join(self._format_counts()))
        if unfit := self.lossy if self.verbose else "; ".join(self.lost):
            self._print(f"the destination cannot store: {unfit}")
        if self.found.excluded and not self.found.objects:
            self._print(f"the filters exclude all {output.format_count(self.found.excluded, 'object')} of the source")
        for line in self.failures.format_lines():
            print(output.escape_lines(line), file=sys.stderr)
        if self.failed and not self.dry:
            print(
                f"{output.format_count(self.failed, 'object')} did not arrive; run the same command again to retry",
                file=sys.stderr,
            )

    def _format_counts(self) -> Iterator[str]:
        rate = output.format_size(round(self.copied_bytes / max(self.seconds, 0.001)))
        would = "would be " if self.dry else ""
        yield f"{output.format_count(self.copied, 'object')} {would}copied"
        size = output.format_size(self.copied_bytes)
        yield size if self.dry else f"{size} in {output.format_duration(self.seconds)}"
        if self.copied_bytes and not self.dry:
            yield f"{rate}/s"
        counts = (
            (self.there, "already present"),
            (self.found.kept, "kept as they are at the destination"),
            (self.deleted, f"{would}deleted"),
            (self.gone, "deleted at the source"),
            (self.withheld, "not deleted"),
            (self.special, "skipped (links, FIFOs, sockets, devices)"),
        )
        yield from (f"{count:,} {words}" for count, words in counts if count)


def _explain(record: Record) -> str:
    return f"{record.message} ({record.hint})" if record.hint else record.message


@asynccontextmanager
async def show_progress(copied: CopyProgress, shown: bool) -> AsyncIterator[None]:
    """Show the progress on standard error inside the context: a bar on a terminal, otherwise a line every few seconds."""
    if not shown:
        yield
        return
    if not sys.stderr.isatty():
        async with _run_beside(_print_progress(copied)):
            yield
        return
    progress = _create_bar()
    with progress:
        async with _run_beside(_draw(progress, copied)):
            yield


@asynccontextmanager
async def _run_beside(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    task = asyncio.create_task(work, name="progress")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


def _create_bar() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    objects, bytes_moved = TextColumn("{task.description}"), TextColumn("{task.fields[moved]}")
    more = (
        BarColumn(),
        TextColumn("{task.fields[moved]} of {task.fields[found]}, {task.fields[rate]}/s"),
        TimeRemainingColumn(),
    )
    columns = more if console.width >= WIDE else (bytes_moved,)
    return Progress(objects, *columns, console=console, transient=True)


async def _draw(progress: Progress, copied: CopyProgress) -> None:
    task = progress.add_task("", total=None, moved="", found="", rate="")
    while True:
        moved = min(copied.found.bytes, copied.found.present_bytes + max(copied.moved, copied.copied_bytes))
        progress.update(
            task,
            description=_describe_progress(copied),
            total=copied.found.bytes or None,
            completed=moved,
            moved=output.format_size(moved),
            found=output.format_size(copied.found.bytes),
            rate=output.format_size(round(progress.tasks[0].speed or 0)),
        )
        await asyncio.sleep(0.25)


async def _print_progress(copied: CopyProgress) -> None:
    while True:
        await asyncio.sleep(LINES)
        sizes = f"{output.format_size(copied.copied_bytes)} in {output.format_duration(copied.seconds)}"
        print(f"{_describe_progress(copied)}, {sizes}", file=sys.stderr, flush=True)


def _describe_progress(copied: CopyProgress) -> str:
    found = copied.found
    if copied.deleted:
        return f"{copied.deleted:,} objects deleted"
    errors = f", {copied.failed + copied.retried:,} errors" if copied.failed or copied.retried else ""
    done = copied.copied + copied.there + copied.gone + copied.failed + found.kept
    return f"{done:,} of {found.objects:,}{'' if found.whole else '+'} objects{errors}"
