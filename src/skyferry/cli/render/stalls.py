"""End a copy that makes no progress: an answer to HEAD does not show that objects can be copied."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterator
from dataclasses import field, replace
from typing import TYPE_CHECKING

from skyferry.cli.render import output
from skyferry.errors import StoreError
from skyferry.frozen import dataclass
from skyferry.records import Record

if TYPE_CHECKING:
    from skyferry.config.settings import Settings
    from skyferry.discovery.listing import ListingProgress
    from skyferry.engine.service import Service

PROGRESS = ("write", "write_part", "finish_upload", "copy_from", "copy_part")  # requests after which more has arrived
SETTLED = ("transfer.done", "transfer.skipped", "transfer.dead")
CHECK = 0.1  # seconds between checks
SHORTEST = 1.0  # seconds, at least, for one request
OUTAGES = frozenset(kind.kind for kind in StoreError.__subclasses__() if kind.outage)


@dataclass(slots=True)
class Stalls:
    """An observer that knows when the last object, or a part of one, arrived, and what has failed since."""

    failures: dict[str, Record] = field(default_factory=dict)  # the last error of unfinished objects, by key
    started: dict[str, Record] = field(default_factory=dict)  # attempts in progress, by key
    kind: str = ""  # of `error`
    error: str = ""  # the last error of a request or an attempt since the last progress; "" = none
    ended: bool = False  # the copy was ended for lack of progress
    _unrecorded: bool = False  # the ledger has failed since an object was settled
    _progress: float = field(default_factory=time.monotonic)
    _reported: set[str] = field(default_factory=set)

    def on(self, record: Record) -> None:
        """Take the record of a step. Requests are not taken: see `note_progress`."""
        if record.event == "transfer.claimed":
            self.started[record.key] = record
        elif record.event in SETTLED:
            self.started.pop(record.key, None)
            self.failures.pop(record.key, None)
            self._unrecorded = False
            self.note_progress()
        elif record.event == "store.retry":
            self.error, self.kind = f"{record.store}: {record.message or record.error}", record.error
        elif record.event == "ledger.failed":
            self.error, self.kind, self._unrecorded = record.message, record.error, True
        elif record.event == "transfer.retry":
            self._fail(record)
        elif record.event == "transfer.released":
            self.started.pop(record.key, None)

    def unfinished(self) -> Iterator[Record]:
        """Yield the objects that were tried and did not arrive, as dead transfers with their last error."""
        for key, record in {**self.started, **self.failures}.items():
            known = self.failures.get(key) or replace(record, error=self.kind, message=self.error)
            yield replace(known, event="transfer.dead")

    async def wait(self, patience: float, found: ListingProgress) -> None:
        """Return once requests have failed and nothing has arrived or was listed for `patience` seconds."""
        listed = -1
        while not (self._failing and time.monotonic() - self._progress >= patience):
            if found.objects != listed:
                listed = found.objects
                self.note_progress()
            await asyncio.sleep(CHECK)

    @property
    def _failing(self) -> bool:
        """True if a transfer is affected; a listing that fails ends by itself."""
        return bool(self.error and (self.started or self.failures or self._unrecorded))

    def note_progress(self) -> None:
        """Note that an object, or a part of one, has arrived."""
        self._progress, self.error = time.monotonic(), ""

    def _fail(self, record: Record) -> None:
        self.started.pop(record.key, None)
        self.error, self.kind = record.message, record.error
        self.failures[record.key] = record  # no more than the messages that may wait
        if record.error in OUTAGES and record.error not in self._reported:
            self._reported.add(record.error)
            print(output.escape_control(f"retrying: {record.message}"), file=sys.stderr, flush=True)


def limit_request_time(settings: Settings, patience: float) -> Settings:
    """Return settings in which a request that brings nothing fails within `patience` seconds, or one second."""
    limit = max(SHORTEST, min(settings.limits.request_timeout, patience))
    return settings.model_copy(update={"limits": settings.limits.model_copy(update={"request_timeout": limit})})


async def run_service(service: Service, stalls: Stalls, found: ListingProgress, patience: float) -> list[Record]:
    """Run the service until nothing is left to copy, or until nothing has arrived for `patience` seconds.

    In the second case, set `stalls.ended`, and return the records of `Stalls.unfinished`. `found` has the progress of the listing.
    """
    unfinished: list[Record] = []
    running = asyncio.create_task(service.run(until_idle=True), name="copy")
    waiting = asyncio.create_task(stalls.wait(patience, found), name="wait for progress")
    try:
        await asyncio.wait({running, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if not running.done():
            stalls.ended = True
            text = f"nothing has arrived for {output.format_duration(patience)}, so the copy ends: {stalls.error}"
            print(output.escape_control(text), file=sys.stderr, flush=True)
            unfinished = list(stalls.unfinished())
            service.drain(0.0)
        await running
    finally:
        for task in (running, waiting):
            task.cancel()
        await asyncio.gather(running, waiting, return_exceptions=True)
    return unfinished
