"""A folder as a source: changes while it was not watched, and changes now."""

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
from skyferry.errors import StoreUnavailable
from skyferry.ledgers.memory.ledger import MemoryLedger
from skyferry.model import Attributes, Checksums, ObjectMeta, Provider
from skyferry.ports import Clock
from skyferry.routing.routes import Routes
from skyferry.stores.memory import MemoryStore

if TYPE_CHECKING:
    from tests.discovery.conftest import Heard

PATIENCE = 20.0  # seconds


@pytest.fixture
def listing(clock: Clock) -> MemoryStore:
    """Stands for the folder's store: only its listing is asked."""
    return MemoryStore("in", clock)


@pytest.fixture
def source(watched: WatchedFolder, listing: MemoryStore, heard: Heard, clock: Clock) -> FolderSource:
    stores = {"in": {"url": "file://x/bucket"}, "out": {"url": "file://out"}}
    routes = Routes(Settings.model_validate({"stores": stores, "routes": [{"name": "r", "from": "in", "to": "out"}]}))
    ledger = MemoryLedger("me", clock)
    reconciler = Reconciler(listing, Provider.FILE, "bucket", routes, ledger, clock.time)
    guarded = GuardedSource("in", Provider.FILE, "bucket", routes, ledger, clock, heard)
    guard = DeleteGuard(guarded, KnownFolder(watched.folder, "file://bucket", ledger))
    return FolderSource(watched, reconciler, guard, heard.send, clock, heard)


@contextlib.asynccontextmanager
async def running(source: FolderSource) -> AsyncIterator[None]:
    task = asyncio.create_task(source.run())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_what_was_there_before_is_sent_and_then_what_changes(
    source: FolderSource, listing: MemoryStore, heard: Heard, folder: Path
) -> None:
    assert not source.idle
    (folder / "old").write_bytes(b"data")
    await listing.write("old", b"data", Attributes(), Checksums())
    async with running(source):
        await heard.created("old")
        (folder / "new").write_bytes(b"data")
        await heard.created("new")


async def test_a_file_that_was_being_written_at_the_start_is_sent_once_it_is_whole(
    source: FolderSource, listing: MemoryStore, heard: Heard, folder: Path
) -> None:
    (folder / "marker").write_bytes(b"")
    for key in ("marker", "old"):
        await listing.write(key, b"data", Attributes(), Checksums())
    with open(folder / "old", "wb") as file:
        async with running(source):
            await heard.created("marker")
            assert heard.of("old") == []
            file.write(b"all of it")
            file.close()
            assert (await heard.created("old")).size == 9


async def test_a_listing_that_fails_is_asked_again(
    source: FolderSource, listing: MemoryStore, heard: Heard, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "old").write_bytes(b"data")
    await listing.write("old", b"data", Attributes(), Checksums())
    whole, asked, again = listing.list, asyncio.Event(), asyncio.Event()

    async def flaky(prefix: str = "", after: str = "") -> AsyncIterator[ObjectMeta]:
        if not asked.is_set():
            asked.set()
            raise StoreUnavailable
        async for meta in whole(prefix, after):
            yield meta
        again.set()

    monkeypatch.setattr(listing, "list", flaky)
    async with running(source), asyncio.timeout(PATIENCE):
        await again.wait()
        await heard.created("old")
