"""Find abandoned multipart uploads in the ledger and at the stores, and abort them: their parts are billed until then.

Three kinds of uploads belong to Skyferry: those in the ledger; those that a store marks as such (`traits.listed_uploads`);
and, at stores without such marks, those that started on the destination key of a transfer while it was in flight. The
last kind remains when a response is lost, or a worker dies before it records the upload. Other uploads are left alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Protocol

from skyferry.engine.fleet.roles import Confirm, allow
from skyferry.errors import LedgerError, StoreError
from skyferry.frozen import dataclass
from skyferry.model import Progress, State, Upload
from skyferry.ports import Clock, Filter, ObjectStore, Transfers, UploadLog

SKEW = 60.0  # seconds by which a provider's clock may differ from this one
ABANDONED = 24 * 3600.0  # seconds without a new part after which the upload of a settled transfer is aborted
PAUSE = 3600.0  # seconds between looks for such uploads
REFUSED = 100  # uploads that a store may refuse to abort before it is left alone until the next look


class UploadLedger(UploadLog, Transfers, Protocol):
    """The parts of the ledger that record uploads and the transfers that started them."""


@dataclass(frozen=True, slots=True)
class AbandonedUpload:
    """An upload that no worker will finish."""

    store: str
    upload: Upload
    remembered: bool  # by the ledger; False = only the store lists it


class UploadCleaner:
    """Aborts uploads in the ledger that were abandoned, because they could not be aborted when their transfer was settled."""

    name = "uploads"

    def __init__(self, ledger: UploadLedger, stores: Mapping[str, ObjectStore], clock: Clock) -> None:
        """Take the stores whose uploads are aborted. Those at other stores stay."""
        self._ledger, self._stores, self._clock = ledger, stores, clock

    async def run(self, confirm: Confirm = allow) -> None:
        """Abort such uploads every hour until cancelled. `confirm` is called before each look."""
        while True:
            await confirm()
            with suppress(LedgerError):  # the next look finds them
                await self.abort()
            await self._clock.sleep(PAUSE)

    async def abort(self) -> int:
        """Abort the uploads that are found now, and return their number. Those that a store refuses stay. Raises LedgerError."""
        refused, aborted = Counter[str](), 0
        async for progress in self._ledger.list_uploads():
            if progress.age < ABANDONED:
                break
            store = self._stores.get(progress.store)
            if store is None or refused[progress.store] >= REFUSED or await self._may_resume(progress):
                continue
            try:
                await _abort(self._ledger, progress.store, store, progress.upload)
                aborted += 1
            except StoreError as error:
                refused[progress.store] += REFUSED if error.outage else 1
        return aborted

    async def _may_resume(self, progress: Progress) -> bool:
        """Return True if a transfer to the key is not settled: its source may be down for days, and what was sent is of use."""
        for state in (State.CLAIMED, State.RETRY):
            page = await self._ledger.list_transfers(Filter(state=state, source_key=progress.source.key))
            keys = {(row.transfer.store, row.transfer.key) for row in page.items}
            if (progress.store, progress.upload.key) in keys:
                return True
        return False


async def abort_abandoned_uploads(
    ledger: UploadLedger,
    stores: Mapping[str, ObjectStore],
    older_than: float,
    clock: Clock,
    *,
    only_remembered: Collection[str] = (),
    dry_run: bool = False,
) -> list[AbandonedUpload]:
    """Abort and return the uploads that have not changed for `older_than` seconds; with `dry_run`, only return them.

    `older_than` MUST exceed the duration of a part and the delay of a retry: a transfer whose upload is aborted starts
    again. Uploads in the ledger whose store is not in `stores` stay. The stores in `only_remembered` are not asked
    for others. Raises StoreError, LedgerError.
    """
    before, known = clock.time() - older_than, set[tuple[str, str]]()
    found = []
    async for progress in ledger.list_uploads():
        known.add((progress.store, progress.upload.id))
        if progress.store in stores and progress.age >= older_than:
            found.append(AbandonedUpload(progress.store, progress.upload, remembered=True))
    for name, store in stores.items():
        if name in only_remembered:
            continue
        async for upload in store.uploads():
            if (name, upload.id) in known or upload.started_at > before:
                continue
            if store.traits.listed_uploads == "own" or await _started_by_transfer(ledger, name, upload):
                found.append(AbandonedUpload(name, upload, remembered=False))
    for abandoned in [] if dry_run else found:
        await _abort(ledger, abandoned.store, stores[abandoned.store], abandoned.upload)
    return found


async def abort_listed_uploads(
    ledger: UploadLog, name: str, store: ObjectStore, older_than: float, *, dry_run: bool = False
) -> list[AbandonedUpload]:
    """Abort only the uploads that both the ledger, under `name`, and this store list: `name` may mean another store there."""
    listed = {upload.id async for upload in store.uploads()}
    found = [
        AbandonedUpload(store.name, progress.upload, remembered=True)
        async for progress in ledger.list_uploads()
        if progress.store == name and progress.upload.id in listed and progress.age >= older_than
    ]
    for abandoned in [] if dry_run else found:
        await _abort(ledger, name, store, abandoned.upload)
    return found


async def _abort(ledger: UploadLog, name: str, store: ObjectStore, upload: Upload) -> None:
    """Abort an upload, and remove it from the ledger, where its store has this name."""
    await store.abort_upload(upload)
    await ledger.close_uploads(name, [upload.id])


async def _started_by_transfer(ledger: UploadLedger, store: str, upload: Upload) -> bool:
    """Return True if a transfer to the upload's key was in flight when the upload started."""
    cursor = ""
    while True:
        page = await ledger.list_transfers(Filter(key_prefix=upload.key), cursor)
        for row in page.items:
            same = (row.transfer.store, row.transfer.key) == (store, upload.key)
            end = row.updated_at + SKEW if row.state.settled else float("inf")
            if same and row.created_at - SKEW <= upload.started_at <= end:
                return True
        if not (cursor := page.cursor):
            return False
