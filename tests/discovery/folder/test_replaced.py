"""A folder whose disk is unmounted while it is watched."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from skyferry.config.settings import Settings
from skyferry.discovery.absences.guard import DeleteGuard, GuardedSource
from skyferry.discovery.folder.inspector import WatchedFolder
from skyferry.discovery.known_folder import KnownFolder
from skyferry.discovery.reconcile import Reconciler
from skyferry.discovery.source import FolderSource
from skyferry.ledgers.memory.ledger import MemoryLedger
from skyferry.model import Change, Checksums, Claim, ObjectEvent, Placement, Provider, Receipt
from skyferry.ports import Clock, Done, HeldFilter, Settlement
from skyferry.routing.routes import Routes
from skyferry.stores.local.store import LocalStore

if TYPE_CHECKING:
    from tests.discovery.conftest import Heard

PATIENCE = 20.0  # seconds
ROUTE = {"name": "r", "from": "in", "to": "out", "deletes": "propagate"}


class Mirror:
    """The source while it runs, and an engine that copies at once."""

    def __init__(self, watched: WatchedFolder, heard: Heard, clock: Clock) -> None:
        stores = {"in": {"url": "file://x/bucket"}, "out": {"url": "file://out"}}
        self.routes = Routes(Settings.model_validate({"stores": stores, "routes": [ROUTE]}))
        self.ledger, self.heard, self.store = MemoryLedger("me", clock), heard, LocalStore("in", watched.folder)
        known = KnownFolder(watched.folder, "file://bucket", self.ledger)
        guard = DeleteGuard(GuardedSource("in", Provider.FILE, "bucket", self.routes, self.ledger, clock, heard), known)
        reconciler = Reconciler(self.store, Provider.FILE, "bucket", self.routes, self.ledger, clock.time)
        self.source = FolderSource(watched, reconciler, guard, self.send, clock, heard)

    async def send(self, events: list[ObjectEvent]) -> None:
        for transfer in (t for event in events for t in self.routes.match(event)):
            [claim] = await self.ledger.claim([transfer])
            if not isinstance(claim, Claim):  # noticed twice
                continue
            written = "" if transfer.change is Change.DELETED else "v"
            receipt = Receipt("v", "v", 4, Checksums(), Checksums(), Checksums(), None, 0.0, 0.0, 1)
            placed = Placement("out", transfer.key, transfer.source, not written, (), 0.0, written, transfer.id, 0.0)
            await self.ledger.settle([Settlement(claim, Done(receipt, placed))])
        await self.heard.send(events)

    async def waiting(self, number: int) -> None:
        async with asyncio.timeout(PATIENCE):
            while len((await self.ledger.list_held_deletes(HeldFilter())).items) != number:
                await asyncio.sleep(0.02)


@pytest.fixture
async def mirror(watched: WatchedFolder, heard: Heard, clock: Clock, folder: Path) -> AsyncIterator[Mirror]:
    for name in ("a", "b"):
        (folder / name).write_bytes(b"data")
    mirror = Mirror(watched, heard, clock)
    task = asyncio.create_task(mirror.source.run())
    await heard.created("a")
    await heard.created("b")
    yield mirror
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    await mirror.store.close()


async def test_an_empty_mount_point_deletes_nothing_and_the_disk_may_come_back(mirror: Mirror, folder: Path) -> None:
    async with asyncio.timeout(PATIENCE):
        while not mirror.source.idle:
            await asyncio.sleep(0.02)
    disk = folder.with_name("disk")
    folder.rename(disk)
    folder.mkdir()
    await mirror.waiting(2)
    (folder / "new").write_bytes(b"data")
    await mirror.heard.created("new")
    assert all(event.change is Change.CREATED for event in mirror.heard.events)
    folder.rename(folder.with_name("mount point"))
    disk.rename(folder)
    async with asyncio.timeout(PATIENCE):
        while "deletes.back" not in [record.event for record in mirror.heard.records]:
            await asyncio.sleep(0.02)
    (folder / "a").unlink()
    await mirror.heard.deleted("a")
