"""The output of `skyferry copy`: counts by outcome, a progress bar, a summary."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from skyferry.cli.render import output
from skyferry.cli.render.stalls import Stalls
from skyferry.discovery.listing import Found

if TYPE_CHECKING:
    from rich.progress import Progress

    from skyferry.errors import SkyferryError
    from skyferry.records import Record

SHOWN = 20  # failures that are listed
WRITES = ("write", "write_part", "copy_from", "copy_part")
LOOKS = ("head", "list", "uploads")  # operations that any other answer shows to work
BREAKER = "breaker"  # the reason for waiting, in place of a kind of error
PRESENT = ("current", "superseded")  # the destination has this version or a newer one


@dataclass(slots=True)
class CopyProgress:
    """An observer that counts one run."""

    found: Found = field(default_factory=Found)
    copied: int = 0
    copied_bytes: int = 0
    present: int = 0  # found at the destination during the copy
    gone: int = 0  # deleted after the listing
    special: int = 0  # links, FIFOs, sockets and devices
    retried: int = 0
    failed: int = 0
    moved: int = 0  # bytes written so far, of unfinished objects too
    failures: list[dict[str, str]] = field(default_factory=list)
    lossy: str = ""
    began: float = field(default_factory=time.monotonic)
    waiting: dict[str, str] = field(default_factory=dict)  # unavailable stores, and the kind of their last error
    operations: dict[str, str] = field(default_factory=dict)  # of these stores, the operation that failed
    stalls: Stalls = field(default_factory=Stalls)

    def on(self, record: Record) -> None:
        """Count a record."""
        self.stalls.on(record)
        match record.event:
            case "transfer.done":
                self.copied += 1
                self.copied_bytes += record.bytes or 0
            case "transfer.skipped" if record.reason == "gone":
                self.gone += 1
            case "transfer.skipped" if record.reason in PRESENT:
                self.present += 1
            case "transfer.retry":
                self.retried += 1
            case "transfer.skipped" | "transfer.dead" | "message.dead":
                self._fail(record)
            case "watch.unreadable" if record.store == "source":  # the listing omits it
                self._fail(record)
            case "route.metadata_lost":
                self.lossy = record.message
            case _:
                self._count_store(record)

    def _count_store(self, record: Record) -> None:
        """Count the requests of a store, and report when it is unavailable."""
        match record.event:
            case "store.special_file" if record.store == "source":
                self.special += 1
            case "store.request" if not record.error:
                self.moved += (record.bytes or 0) if record.operation in WRITES else 0
                if self.waiting.get(record.store, BREAKER) != BREAKER:
                    failed = self.operations.get(record.store, "")
                    if failed in (record.operation, *LOOKS):
                        self._report_recovery(record.store)
            case "store.retry" if record.message:
                self.operations[record.store] = record.operation
                self._report_wait(
                    record.store, record.error, f"{record.message} ({record.hint})" if record.hint else record.message
                )
            case "breaker.changed" if record.reason == "open" and record.store not in self.waiting:
                self._report_wait(record.store, BREAKER, "several consecutive requests failed")
            case "breaker.changed" if record.reason == "closed" and record.store in self.waiting:
                self._report_recovery(record.store)

    def _report_wait(self, store: str, error: str, message: str) -> None:
        """Report once for each kind of error that a store is unavailable."""
        if self.waiting.get(store) != error:
            self.waiting[store] = error
            print(output.escape_control(f"waiting for the {store}: {message}"), file=sys.stderr, flush=True)

    def _report_recovery(self, store: str) -> None:
        del self.waiting[store]
        print(f"the {store} responds again", file=sys.stderr, flush=True)

    def count_rejected(self, key: str, error: SkyferryError) -> None:
        """Count an object whose copy was not attempted."""
        self._failure(key, error.kind, f"{error.where} {error.message}", error.hint)

    def _fail(self, record: Record) -> None:
        self._failure(record.key, record.error or record.reason or "unreadable", record.message, record.hint)

    def _failure(self, key: str, error: str, message: str, hint: str) -> None:
        self.failed += 1
        if len(self.failures) < SHOWN:
            self.failures.append({"key": key, "error": error, "message": message, "hint": hint})

    @property
    def there(self) -> int:
        """The number of objects that need no copy."""
        return self.found.present + self.present

    @property
    def complete(self) -> bool:
        """True if every listed object that still exists is at the destination."""
        return self.found.whole and not self.failed and self.copied + self.there + self.gone >= self.found.objects

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
                "gone": self.gone,
                "failed": self.failed,
                "special": self.special,
            },
            "bytes": {"listed": self.found.bytes, "copied": self.copied_bytes},
            "retries": self.retried,
            "seconds": round(self.seconds, 3),
            "failures": self.failures,
            "lossy": self.lossy,
        }

    def print_summary(self) -> None:
        """Print the results to standard output and the failures to standard error."""
        rate = output.format_size(round(self.copied_bytes / max(self.seconds, 0.001)))
        parts = [
            f"{output.format_count(self.copied, 'object')} copied, {output.format_size(self.copied_bytes)} "
            f"in {output.format_duration(self.seconds)}"
        ]
        parts += [f"{rate}/s"] if self.copied_bytes else []
        parts += [f"{self.there:,} already present"] if self.there else []
        parts += [f"{self.gone:,} deleted at the source"] if self.gone else []
        parts += [f"{self.special:,} skipped (links, FIFOs, sockets, devices)"] if self.special else []
        output.print_lines(", ".join(parts))
        if self.lossy:
            print(output.escape_control(f"the destination cannot store: {self.lossy}"), file=sys.stderr)
        for failure in self.failures:
            print(
                output.escape_control(f"failed: {failure['key']}: {failure['message'] or failure['error']}"),
                file=sys.stderr,
            )
        if self.failed:
            print(
                f"{output.format_count(self.failed, 'object')} did not arrive; run the same command again to retry",
                file=sys.stderr,
            )


@asynccontextmanager
async def show_progress(copied: CopyProgress, shown: bool) -> AsyncIterator[None]:
    """Show a progress bar on standard error inside the context."""
    if not shown:
        yield
        return
    progress = _create_bar()
    drawing = asyncio.create_task(_draw(progress, copied), name="progress bar")
    try:
        with progress:
            yield
    finally:
        drawing.cancel()
        await asyncio.wait([drawing])


def _create_bar() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(binary_units=True))
    return Progress(
        *columns, TransferSpeedColumn(), TimeRemainingColumn(), console=Console(stderr=True), transient=True
    )


async def _draw(progress: Progress, copied: CopyProgress) -> None:
    task = progress.add_task("", total=None)
    while True:
        found = copied.found
        errors = f", {copied.failed + copied.retried:,} errors" if copied.failed or copied.retried else ""
        done = copied.copied + copied.there + copied.gone + copied.failed
        files = f"{done:,} of {found.objects:,}{'' if found.whole else '+'} objects{errors}"
        moved = min(found.bytes, found.present_bytes + max(copied.moved, copied.copied_bytes))
        progress.update(task, description=files, total=found.bytes or None, completed=moved)
        await asyncio.sleep(0.25)
