"""One attempt at a transfer: its claim, its slot, and the uploads to its destination key."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import field, replace

from skyferry.engine.concurrency.transfer_slots import TransferSlot
from skyferry.errors import Fenced, LedgerError
from skyferry.frozen import dataclass
from skyferry.model import Claim, Part, Progress

Saver = Callable[[tuple[Claim, Progress]], Awaitable[bool]]  # see UploadLog.save_progress


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
    lease_lost: bool = False  # another worker may have the lease
    unsaved: dict[int, Part] = field(default_factory=dict)  # of the upload under way, by number

    def ensure_lease_held(self) -> None:
        """Check before every effect at the destination. Raises Fenced."""
        if self.lease_lost:
            raise Fenced

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
            self.lease_lost = True
        self.ensure_lease_held()
