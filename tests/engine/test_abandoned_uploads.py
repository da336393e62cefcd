"""Uploads whose abort failed are aborted later, by the worker that keeps house."""

from __future__ import annotations

import asyncio

from tests.engine.lab import Lab

from skyferry.engine.abandoned_uploads import ABANDONED, PAUSE, UploadCleaner
from skyferry.errors import PermissionDenied, SkyferryError, StoreUnavailable
from skyferry.model import Attributes, Claim, Progress, Upload
from skyferry.ports import Settlement, Skipped
from skyferry.stores.memory import MemoryBucket, MemoryStore
from skyferry.testing.ledger.harness import transfer


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

    async def leave(self, *names: str) -> None:
        """Begin uploads, and settle their transfers."""
        for name in names:
            upload = await self.store.start_upload(name, 10, 5, Attributes())
            [claim] = await self.kept.claim([transfer(name, key=name)])
            assert isinstance(claim, Claim)
            await self.kept.save_progress([(claim, Progress("to", upload, claim.transfer.source))])
            await self.kept.settle([Settlement(claim, Skipped("superseded"))])


async def test_they_are_aborted_after_a_day() -> None:
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


async def test_those_of_other_stores_stay() -> None:
    lab = Scene()
    await lab.leave("a")
    await lab.clock.advance(ABANDONED + 1)
    assert await UploadCleaner(lab.kept, {}, lab.clock).abort() == 0
    assert len([each async for each in lab.kept.list_uploads()]) == 1
