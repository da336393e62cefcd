"""What `skyferry copy` shows and tells: counts of what became of the objects, a progress bar, a summary."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from skyferry.cli.render import output
from skyferry.discovery.listing import Found

if TYPE_CHECKING:
    from rich.progress import Progress

    from skyferry.errors import SkyferryError
    from skyferry.records import Record

SHOWN = 20  # failures that are told
WRITES = ("write", "write_part", "copy_from", "copy_part")
BREAKER = "breaker"  # why a store is waited for, in place of the kind of an error
THERE = ("current", "superseded")  # the destination holds this version, or a newer one


@dataclass(slots=True)
class Tally:
    """An observer that counts one run."""

    found: Found = field(default_factory=Found)
    copied: int = 0
    copied_bytes: int = 0
    present: int = 0  # found to be there when it was looked at
    gone: int = 0  # deleted since they were listed
    special: int = 0  # links, pipes, sockets and devices, which are no objects
    retried: int = 0
    failed: int = 0
    moved: int = 0  # bytes written so far, of unfinished objects too
    failures: list[dict[str, str]] = field(default_factory=list)
    lossy: str = ""
    began: float = field(default_factory=time.monotonic)
    waiting: dict[str, str] = field(default_factory=dict)  # stores that do not answer, and the kind of their last error

    def on(self, record: Record) -> None:
        """Count."""
        match record.event:
            case "transfer.done":
                self.copied += 1
                self.copied_bytes += record.bytes or 0
            case "transfer.skipped" if record.reason == "gone":
                self.gone += 1
            case "transfer.skipped" if record.reason in THERE:
                self.present += 1
            case "transfer.retry":
                self.retried += 1
            case "transfer.skipped" | "transfer.dead" | "message.dead":
                self._fail(record)
            case "watch.unreadable" if record.store == "source":  # the listing leaves it out
                self._fail(record)
            case "route.metadata_lost":
                self.lossy = record.message
            case _:
                self._hear(record)

    def _hear(self, record: Record) -> None:
        """Count what a store does, and say when it is waited for."""
        match record.event:
            case "store.special_file" if record.store == "source":
                self.special += 1
            case "store.request" if not record.error:
                self.moved += (record.bytes or 0) if record.operation in WRITES else 0
                if self.waiting.get(record.store, BREAKER) != BREAKER:
                    self._go_on(record.store)
            case "store.retry" if record.message:
                self._wait(
                    record.store, record.error, f"{record.message} ({record.hint})" if record.hint else record.message
                )
            case "breaker.changed" if record.reason == "open" and record.store not in self.waiting:
                self._wait(record.store, BREAKER, "several requests in a row have failed")
            case "breaker.changed" if record.reason == "closed" and record.store in self.waiting:
                self._go_on(record.store)

    def _wait(self, store: str, error: str, message: str) -> None:
        """Say that it waits, once for each kind of error."""
        if self.waiting.get(store) != error:
            self.waiting[store] = error
            print(output.safe(f"waiting for the {store}: {message}"), file=sys.stderr, flush=True)

    def _go_on(self, store: str) -> None:
        del self.waiting[store]
        print(f"the {store} answers again", file=sys.stderr, flush=True)

    def refused(self, key: str, error: SkyferryError) -> None:
        """Count an object that was not tried."""
        self._failure(key, error.kind, f"{error.where} {error.message}", error.hint)

    def _fail(self, record: Record) -> None:
        self._failure(record.key, record.error or record.reason or "unreadable", record.message, record.hint)

    def _failure(self, key: str, error: str, message: str, hint: str) -> None:
        self.failed += 1
        if len(self.failures) < SHOWN:
            self.failures.append({"key": key, "error": error, "message": message, "hint": hint})

    @property
    def there(self) -> int:
        """Objects that need no copy."""
        return self.found.present + self.present

    @property
    def complete(self) -> bool:
        """Everything that was listed, and still exists, is at the destination."""
        return self.found.whole and not self.failed and self.copied + self.there + self.gone >= self.found.objects

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.monotonic() - self.began

    def document(self, source: str, destination: str) -> dict[str, object]:
        """For programs."""
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

    def tell(self) -> None:
        """For people: what was done on standard output, what was not on standard error."""
        rate = output.size(round(self.copied_bytes / max(self.seconds, 0.001)))
        parts = [
            f"{output.count(self.copied, 'object')} copied, {output.size(self.copied_bytes)} in {output.span(self.seconds)}"
        ]
        parts += [f"{rate}/s"] if self.copied_bytes else []
        parts += [f"{self.there:,} there already"] if self.there else []
        parts += [f"{self.gone:,} gone meanwhile"] if self.gone else []
        parts += [f"{self.special:,} skipped (links, FIFOs, sockets, devices)"] if self.special else []
        output.lines(", ".join(parts))
        if self.lossy:
            print(output.safe(f"the destination cannot carry: {self.lossy}"), file=sys.stderr)
        for failure in self.failures:
            print(
                output.safe(f"failed: {failure['key']}: {failure['message'] or failure['error']}"),
                file=sys.stderr,
            )
        if self.failed:
            print(
                f"{output.count(self.failed, 'object')} did not arrive; the same command tries again", file=sys.stderr
            )


@asynccontextmanager
async def bar(tally: Tally, shown: bool) -> AsyncIterator[None]:
    """A progress bar on standard error while inside."""
    if not shown:
        yield
        return
    progress = _progress()
    drawing = asyncio.create_task(_draw(progress, tally), name="progress bar")
    try:
        with progress:
            yield
    finally:
        drawing.cancel()
        await asyncio.wait([drawing])


def _progress() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(binary_units=True))
    return Progress(
        *columns, TransferSpeedColumn(), TimeRemainingColumn(), console=Console(stderr=True), transient=True
    )


async def _draw(progress: Progress, tally: Tally) -> None:
    task = progress.add_task("", total=None)
    while True:
        found = tally.found
        errors = f", {tally.failed + tally.retried:,} errors" if tally.failed or tally.retried else ""
        done = tally.copied + tally.there + tally.gone + tally.failed
        files = f"{done:,} of {found.objects:,}{'' if found.whole else '+'} objects{errors}"
        moved = min(found.bytes, found.present_bytes + max(tally.moved, tally.copied_bytes))
        progress.update(task, description=files, total=found.bytes or None, completed=moved)
        await asyncio.sleep(0.25)
