"""Uploads that were left behind: found in the ledger and at the stores, and aborted, so that nobody pays for their parts.

Ours are those that the ledger remembers; those that a store can tell to be ours (`traits.listed_uploads`); and of those
that it cannot, the ones that began on the destination key of one of our transfers while we had that in hand: an answer
that was lost, or a worker that died before it could write the upload down. Nobody else's is touched.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from skyferry.model import Upload
from skyferry.ports import Clock, Filter, Ledger, ObjectStore

SKEW = 60.0  # seconds that a provider's clock may differ from ours


@dataclass(frozen=True, slots=True)
class Orphan:
    """An upload that nobody goes on with."""

    store: str
    upload: Upload
    remembered: bool  # by the ledger; False = found at the store alone


async def collect(
    ledger: Ledger, stores: Mapping[str, ObjectStore], older_than: float, clock: Clock, *, dry_run: bool = False
) -> list[Orphan]:
    """Abort what has not been touched for `older_than` seconds, and return it; with `dry_run`, only return it.

    `older_than` MUST be longer than a part takes and than a retry waits: a transfer whose upload is aborted under it
    begins anew. What the ledger remembers of stores that are not in `stores` stays. Raises StoreError, LedgerError.
    """
    before, known = clock.time() - older_than, set[tuple[str, str]]()
    orphans = []
    async for progress in ledger.open_uploads():
        known.add((progress.store, progress.upload.id))
        if progress.store in stores and progress.saved_at <= before:
            orphans.append(Orphan(progress.store, progress.upload, remembered=True))
    for name, store in stores.items():
        async for upload in store.uploads():
            if (name, upload.id) in known or upload.started_at > before:
                continue
            if store.traits.listed_uploads == "own" or await _began_by_us(ledger, name, upload):
                orphans.append(Orphan(name, upload, remembered=False))
    for orphan in [] if dry_run else orphans:
        await stores[orphan.store].abort_upload(orphan.upload)
        await ledger.close_uploads(orphan.store, [orphan.upload.id])
    return orphans


async def collect_listed(
    ledger: Ledger, name: str, store: ObjectStore, older_than: float, clock: Clock, *, dry_run: bool = False
) -> list[Orphan]:
    """Like `collect`, where the ledger's `name` may mean another store: what it remembers goes if this store has it too."""
    before, there = clock.time() - older_than, {upload.id async for upload in store.uploads()}
    orphans = [
        Orphan(store.name, progress.upload, remembered=True)
        async for progress in ledger.open_uploads()
        if progress.store == name and progress.upload.id in there and progress.saved_at <= before
    ]
    for orphan in [] if dry_run else orphans:
        await store.abort_upload(orphan.upload)
        await ledger.close_uploads(name, [orphan.upload.id])
    return orphans


async def _began_by_us(ledger: Ledger, store: str, upload: Upload) -> bool:
    """Whether a transfer to its key was in hand when it began."""
    cursor = ""
    while True:
        page = await ledger.transfers(Filter(key_prefix=upload.key), cursor)
        for row in page.items:
            ours = (row.transfer.store, row.transfer.key) == (store, upload.key)
            end = row.updated_at + SKEW if row.state.settled else float("inf")
            if ours and row.created_at - SKEW <= upload.started_at <= end:
                return True
        if not (cursor := page.cursor):
            return False
