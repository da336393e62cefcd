"""One attempt at a transfer: its claim, its lease, its slot, and the uploads to its destination key."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import field, replace
from math import inf
from typing import Any

from skyferry.engine.concurrency.transfer_slots import TransferSlot
from skyferry.errors import Fenced, LedgerError
from skyferry.frozen import dataclass
from skyferry.model import Claim, Part, Progress
from skyferry.ports import Clock

Saver = Callable[[tuple[Claim, Progress]], Awaitable[bool]]  # see UploadLog.save_progress
# The share of a lease that is left when its work is aborted. A request that a store has received whole may still take effect
# then. No other worker can have the key yet.
MARGIN = 0.1


def find_lease_end(clock: Clock, lease: float) -> float:
    """Return the end of a lease (monotonic seconds) that the ledger is asked for now. `lease` is in seconds."""
    return clock.monotonic() + lease * (1 - MARGIN)


@dataclass(eq=False, slots=True)
class Lease:
    """Permission to change stores until `ends`. Soon after that, the ledger may give the key to another worker.

    No timer of its own: `LeaseKeeper` watches the leases of all transfers in flight, for a timer each would cost more.
    """

    ends: float = inf  # monotonic seconds, see `find_lease_end`
    monotonic: Callable[[], float] = time.monotonic
    lost: bool = False  # the ledger says so
    _aborted: bool = False
    _work: asyncio.Task[Any] | None = None  # under way
    _cancelling: int = 0  # cancellations of its task before it

    @property
    def is_held(self) -> bool:
        """True until the lease has ended, or the work under it was aborted."""
        return not (self.lost or self._aborted) and self.monotonic() < self.ends

    @property
    def left(self) -> float:
        """The seconds until its end; negative after it."""
        return self.ends - self.monotonic()

    def ensure_held(self) -> None:
        """Check before every request that changes a store. Raises Fenced."""
        if not self.is_held:
            raise Fenced

    def renew(self, ends: float) -> None:
        """Move the end. An answer that comes late does not move it back."""
        self.ends = max(ends, self.ends)

    def abort_if_ended(self) -> None:
        """Abort the work under way if the lease has ended."""
        if self._work is not None and not self._aborted and self.left <= 0:
            self._aborted = True
            self._work.cancel()

    def __enter__(self) -> None:
        """Begin work in this task. `abort_if_ended` may abort it, which raises Fenced at its end. Raises Fenced."""
        self.ensure_held()
        self._work = asyncio.current_task()
        assert self._work is not None  # or nothing could be awaited here
        self._cancelling = self._work.cancelling()

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        task, self._work = self._work, None
        if not self._aborted or task is None:
            return
        others = task.cancelling() > self._cancelling + 1  # there is another reason to cancel it
        task.uncancel()
        if isinstance(error, asyncio.CancelledError) and not others:
            raise Fenced from None


@dataclass(slots=True)
class OpenUploads:
    """Uploads to one destination key that must be finished or aborted."""

    known: dict[str, Progress] = field(default_factory=dict)  # by upload id, the latest last
    closed: set[str] = field(default_factory=set)  # ids of those that were finished or aborted, for the ledger

    def merge(self, uploads: Iterable[Progress]) -> None:
        """Add the uploads of a claim. What is known here is newer."""
        for progress in uploads:
            if progress.upload.id not in self.closed:
                self.known.setdefault(progress.upload.id, progress)

    def close(self, upload_id: str) -> None:
        """Record that it was finished or aborted."""
        self.known.pop(upload_id, None)
        self.closed.add(upload_id)


@dataclass(slots=True)
class Attempt:
    """A claim in progress, and the worker's state of it."""

    claim: Claim
    slot: TransferSlot
    uploads: OpenUploads = field(default_factory=OpenUploads)
    saver: Saver | None = None  # None: progress is not saved, and no other worker can resume it
    lease: Lease = field(default_factory=Lease)
    unsaved: dict[int, Part] = field(default_factory=dict)  # of the upload under way, by number
    late_write: float = 0.0  # seconds within which an unanswered write to the key may still take effect
    late_delete: float = 0.0  # the same of a delete
    change_aborted: bool = False  # a write or delete was aborted, and may still take effect
    read_proven: bool = False  # the bytes read have a digest that the source declares
    found: bool = False  # the destination had the version before this transfer wrote anything

    def ensure_lease_held(self) -> None:
        """Check before every request that changes a store. Raises Fenced."""
        self.lease.ensure_held()

    async def remember_upload(self, progress: Progress) -> None:
        """Remember an upload before its first part is sent. Raises LedgerError, Fenced."""
        self.uploads.known[progress.upload.id] = progress
        await self._save(progress)

    async def remember_part(self, upload_id: str, part: Part) -> None:
        """Remember a part. If the ledger does not answer, it is saved with the next one. Raises Fenced."""
        old = self.uploads.known[upload_id]
        self.uploads.known[upload_id] = replace(old, parts=(*old.parts, part))
        self.unsaved[part.number] = part
        now = tuple(self.unsaved.values())
        try:
            await self._save(replace(old, parts=now))
        except LedgerError:
            self.ensure_lease_held()
            return
        for each in now:
            self.unsaved.pop(each.number, None)

    async def _save(self, progress: Progress) -> None:
        if self.saver is not None and not await self.saver((self.claim, progress)):
            self.lease.lost = True
        self.ensure_lease_held()
