"""Uploads whose abort failed are aborted later, by the worker with the role for housekeeping."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from tests.engine.lab import Lab

from skyferry.engine.abandoned_uploads import ABANDONED, PAUSE, REFUSED, UploadCleaner
from skyferry.errors import PermissionDenied, SkyferryError, StoreUnavailable
from skyferry.model import Attributes, Claim, Progress, Upload
from skyferry.ports import Outcome, Released, Settlement, Skipped
from skyferry.stores.memory import MemoryBucket, MemoryStore
from skyferry.testing.ledger.harness import transfer

DONE = Skipped("superseded")


class Refusing(MemoryStore):
    """A store that refuses to abort."""

    error: SkyferryError | None = None
    asked = 0

    async def abort_upload(self, upload: Upload) -> None:
        self.asked += 1
        if self.error:
            raise self.error
        await super().abort_upload(upload)


class Scene(Lab):
    """Settled transfers whose uploads remain at a store, and in the ledger."""

    def __init__(self) -> None:
        super().__init__()
        self.store = Refusing("to", self.clock, MemoryBucket("to"))
        self.kept = self.ledger()
        self.cleaner = UploadCleaner(self.kept, {"to": self.store}, self.clock)

    async def leave(self, *names: str, store: MemoryStore | None = None, outcome: Outcome | None = DONE) -> None:
        """Begin uploads, and settle their transfers if there is an outcome."""
        at = store or self.store
        for name in names:
            upload = await at.start_upload(name, 10, 5, Attributes())
            [claim] = await self.kept.claim([replace(transfer(name, key=name), store=at.name)])
            assert isinstance(claim, Claim)
            await self.kept.save_progress([(claim, Progress(at.name, upload, claim.transfer.source))])
            await self.kept.settle([Settlement(claim, outcome)] if outcome else [])


async def test_abandoned_uploads_are_aborted_after_a_day() -> None:
    lab = Scene()
    await lab.leave("a", "b")
    assert await lab.cleaner.abort() == 0
    running = asyncio.create_task(lab.cleaner.run())
    await lab.clock.advance(ABANDONED + PAUSE)
    assert not lab.store.bucket.uploads
    assert [each async for each in lab.kept.list_uploads()] == []
    running.cancel()


async def test_a_store_that_is_down_is_asked_once_and_again_later() -> None:
    lab = Scene()
    await lab.leave("a", "b")
    await lab.clock.advance(ABANDONED + 1)
    lab.store.error = StoreUnavailable()
    assert await lab.cleaner.abort() == 0
    assert lab.store.asked == 1
    lab.store.error = PermissionDenied()
    assert await lab.cleaner.abort() == 0
    assert lab.store.asked == 3
    lab.store.error = None
    assert await lab.cleaner.abort() == 2


async def test_a_store_that_refuses_many_leaves_those_of_others_to_be_aborted() -> None:
    lab = Scene()
    other = MemoryStore("other", lab.clock, MemoryBucket("other"))
    cleaner = UploadCleaner(lab.kept, {"to": lab.store, "other": other}, lab.clock)
    await lab.leave(*(f"k{n}" for n in range(REFUSED + 10)))
    await lab.leave("last", store=other)
    await lab.clock.advance(ABANDONED + 1)
    lab.store.error = PermissionDenied()
    assert await cleaner.abort() == 1
    assert lab.store.asked == REFUSED
    assert not other.bucket.uploads


@pytest.mark.parametrize("claimed", [True, False])
async def test_those_of_transfers_that_are_not_settled_stay(claimed: bool) -> None:
    """The source is down over a weekend. A worker resumes the upload after it."""
    lab = Scene()
    await lab.leave("a", outcome=None if claimed else Released())
    await lab.clock.advance(3 * ABANDONED)
    assert await lab.cleaner.abort() == 0
    assert lab.store.bucket.uploads


async def test_uploads_at_other_stores_stay() -> None:
    lab = Scene()
    await lab.leave("a")
    await lab.clock.advance(ABANDONED + 1)
    assert await UploadCleaner(lab.kept, {}, lab.clock).abort() == 0
    assert len([each async for each in lab.kept.list_uploads()]) == 1
