"""A local folder as a source of events: watched while running, reconciled with the ledger after a pause."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from skyferry.discovery.absences.guard import DeleteGuard
from skyferry.discovery.folder.inspector import WatchedFolder
from skyferry.discovery.folder.watcher import FolderWatcher
from skyferry.discovery.reconcile import Reconciler
from skyferry.errors import SkyferryError
from skyferry.model import Change, ObjectEvent
from skyferry.ports import Clock, Observer


class FolderSource:
    """Send an event for every object that changed, even while the folder was not watched."""

    def __init__(
        self,
        watched: WatchedFolder,
        reconciler: Reconciler,
        guard: DeleteGuard,
        send: Callable[[list[ObjectEvent]], Awaitable[None]],
        clock: Clock,
        observer: Observer,
    ) -> None:
        """Call `send` again if it raises QueueError."""
        self._reconciler, self._guard = replace(reconciler, on_listed=guard.record_listed), guard
        self._watcher = FolderWatcher(
            watched, send, self._reconcile, clock, observer, filter_events=guard.filter_watched
        )

    @property
    def idle(self) -> bool:
        """True if all events found so far are sent and no file is being written."""
        return self._watcher.idle

    @property
    def failure(self) -> SkyferryError | None:
        """The error because of which the folder cannot be listed until a person corrects it, or None."""
        return self._watcher.failure

    async def run(self) -> None:
        """Watch until cancelled. Raises StoreUnavailable if the system cannot watch the folder, or no longer can."""
        await self._watcher.run()

    async def _reconcile(self, prefixes: Sequence[str]) -> None:
        await self._guard.begin_reconciliation(prefixes)
        async for events in self._reconciler.find_changes(prefixes):
            await self._guard.record_missing(e for e in events if e.change is Change.DELETED)
            await self._watcher.send_whole([e for e in events if e.change is Change.CREATED])
        await self._watcher.send_events(await self._guard.end_reconciliation())
