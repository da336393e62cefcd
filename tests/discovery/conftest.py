"""A watched folder, and what the watcher says of it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import pytest

from skyferry.clock import SystemClock
from skyferry.discovery.folder.inspector import WatchedFolder
from skyferry.discovery.folder.watcher import FolderWatcher
from skyferry.model import Change, ObjectEvent
from skyferry.ports import Clock
from skyferry.records import Record
from skyferry.stores.local.names import key_of, path_of

PATIENCE = 20.0  # seconds that a test waits for what should take a fraction of one


class Heard:
    """The events, missed prefixes and records of a watcher."""

    def __init__(self) -> None:
        self.events: list[ObjectEvent] = []
        self.missed: list[str] = []
        self.records: list[Record] = []
        self.errors: list[Exception] = []  # raised by the next sends
        self._changed = asyncio.Condition()

    def on(self, record: Record) -> None:
        self.records.append(record)

    async def send(self, events: list[ObjectEvent]) -> None:
        if self.errors:
            raise self.errors.pop()
        self.events += events
        async with self._changed:
            self._changed.notify_all()

    async def miss(self, prefixes: Sequence[str]) -> None:
        if self.errors:
            raise self.errors.pop()
        self.missed += prefixes
        async with self._changed:
            self._changed.notify_all()

    async def until(self, met: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE), self._changed:
            await self._changed.wait_for(met)

    def of(self, key: str) -> list[ObjectEvent]:
        return [event for event in self.events if event.source.key == key]

    async def created(self, key: str, size: int | None = None) -> ObjectEvent:
        def met() -> bool:
            return any(e.change is Change.CREATED and size in (None, e.size) for e in self.of(key))

        await self.until(met)
        return self.of(key)[-1]

    async def deleted(self, key: str) -> ObjectEvent:
        await self.until(lambda: any(e.change is Change.DELETED for e in self.of(key)))
        return self.of(key)[-1]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "source").mkdir()
    return tmp_path / "source"


@pytest.fixture
def watched(folder: Path) -> WatchedFolder:
    return WatchedFolder(folder, "in", "bucket", key_of, path_of)


@pytest.fixture
def clock() -> Clock:
    return SystemClock()


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
async def watcher(watched: WatchedFolder, heard: Heard, clock: Clock) -> AsyncIterator[FolderWatcher]:
    """A watcher while it runs."""
    watcher = FolderWatcher(watched, heard.send, heard.miss, clock, heard)
    task = asyncio.create_task(watcher.run())
    try:
        async with asyncio.timeout(PATIENCE):
            await watcher.established.wait()
        await heard.until(lambda: heard.missed == [""])
        heard.missed.clear()
        yield watcher
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
