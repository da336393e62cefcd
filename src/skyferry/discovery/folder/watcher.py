"""Watch a local folder and send an event for each changed object, once it is whole."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from types import MappingProxyType

from skyferry.discovery.failures import FailureReporter
from skyferry.discovery.folder.inotify import TreeNotifications
from skyferry.discovery.folder.inspector import (
    ADDED,
    DELETED,
    DeletedFolder,
    PathChange,
    PathInspector,
    SpecialFile,
    UnfinishedPath,
    UnreadablePath,
    WatchedFolder,
)
from skyferry.discovery.folder.notify import Notifications, WatchEnded
from skyferry.errors import Disposition, QueueError, SkyferryError, StoreUnavailable
from skyferry.frozen import dataclass
from skyferry.model import ObjectEvent
from skyferry.ports import Clock, Observer
from skyferry.records import Record
from skyferry.sqlite.inotify import has_inotify

BATCH = 500  # events sent at once
MANY = 2000  # changes at once: the system's queue may have overflowed, which is not reported
UNFINISHED = 10_000  # files being written to track
FIRST, LONGEST = 0.05, 1.0  # seconds between checks of a file being written
SHARE = 9.0  # pauses between listings of a folder that cannot be watched, as a multiple of the time that one takes
AGAIN = 2.0  # seconds after which a new folder is inspected once more
NONE: Mapping[str, float] = MappingProxyType({})


@dataclass(slots=True)
class _Waiting:
    unfinished: UnfinishedPath
    due: float  # monotonic
    delay: float


class FolderWatcher:
    """A watcher that sends each change of an object as an event, within a second after the object is whole.

    The same change may be sent more than once. `missed` gets the key prefixes of possibly missed changes and must
    reconcile them (see `Reconciler`): [""], that is all, at the start. Calls never overlap, and are retried after a
    SkyferryError.
    """

    def __init__(
        self,
        watched: WatchedFolder,
        send: Callable[[list[ObjectEvent]], Awaitable[None]],
        missed: Callable[[Sequence[str]], Awaitable[None]],
        clock: Clock,
        observer: Observer,
        settle: float = 0.5,
        filter_events: Callable[[list[ObjectEvent]], Awaitable[list[ObjectEvent]]] | None = None,
    ) -> None:
        """Retry `send` after a QueueError, and send only the events that `filter_events` returns.

        A file counts as whole after `settle` seconds without a change, if the system cannot show open files.
        """
        self.established = asyncio.Event()  # later changes are noticed
        self.failure: SkyferryError | None = None  # of the last reconciliation, if no retry can succeed by itself
        self._watched, self._send, self._missed, self._clock, self._observer = watched, send, missed, clock, observer
        self._filter_events = filter_events
        self._inspector = PathInspector(watched, clock.time, settle)
        self._waiting: dict[str, _Waiting] = {}
        self._looking = asyncio.Lock()  # the inspector is not thread-safe
        self._wake = asyncio.Event()
        self._wake_watch: Callable[[], None] = lambda: None
        self._missed_prefixes: set[str] = set()
        self._any_missed = asyncio.Event()
        self._begun = self._ended = 0  # reconciliations, with or without success
        self._listed = asyncio.Event()  # one has ended
        self._watching = False
        self._reported = False  # that the folder is listed instead of watched
        self._overrun = False
        self._busy = 0  # tasks in progress
        self._failures = FailureReporter(watched.store, observer)

    @property
    def idle(self) -> bool:
        """True if all events found so far are sent, no file is being written, and nothing is missing except by `failure`."""
        writing = any(w.unfinished.mark for w in self._waiting.values())
        missed = self._missed_prefixes and not self.failure
        return self.established.is_set() and not (self._busy or missed or writing)

    async def run(self) -> None:
        """Watch until cancelled. Raises StoreUnavailable if the first watch fails.

        After a later failure, list the folder instead for at most a tenth of the time, until it can be watched again.
        """
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._finish(), name=f"unfinished files of {self._watched.store}")
                tasks.create_task(self._reconcile_missed(), name=f"missed changes of {self._watched.store}")
                while True:
                    began = self._clock.monotonic()
                    try:
                        await self._watch()
                        await self._clock.sleep(LONGEST)  # the folder is gone; it may be created again
                    except (StoreUnavailable, OSError) as error:  # a limit is reached, or the disk does not answer
                        if not self.established.is_set():
                            raise
                        await self._list_instead(error, self._clock.monotonic() if self._watching else began)
        except ExceptionGroup as group:
            raise group.exceptions[0] from group

    async def send_whole(self, events: Sequence[ObjectEvent]) -> None:
        """Send events from a listing, for files only once they are whole."""
        await self._handle_inspected(self._inspector.inspect_listed(events))

    async def _list_instead(self, error: StoreUnavailable | OSError, began: float) -> None:
        """Find changes by a listing, and pause in proportion to the time since `began`. Report only the first error."""
        self._mark_missed("")
        own = self._begun + 1  # one under way does not count: it may have passed what has changed
        while self._ended < own:
            self._listed.clear()
            await self._listed.wait()
        pause = max(LONGEST, SHARE * (self._clock.monotonic() - began))
        if not self._reported:
            self._reported = True
            self._failures.report(_describe_listing(error), pause)
        await self._clock.sleep(pause)

    async def _watch(self) -> None:
        self._watching = False
        notifications = (TreeNotifications if has_inotify() else Notifications)(self._inspector.root)
        self._wake_watch = notifications.wake
        try:
            await notifications.open()
            await asyncio.to_thread(self._inspector.scan_folders)
            self._overrun = False
            self._mark_missed("")
            self._watching, self._reported = True, False
            self.established.set()
            self._failures.reset()
            while True:
                changes = await notifications.next_changes()
                with self._work():
                    await self._handle_changes(changes)
        except WatchEnded:
            return
        finally:
            notifications.close()

    async def _handle_changes(self, changes: set[tuple[int, str]]) -> None:
        kinds: dict[str, set[int]] = {}
        for kind, path in changes:
            kinds.setdefault(path, set()).add(kind)
        for path in [p for p in kinds if p in self._waiting]:
            replaced = ADDED in kinds[path] and not self._waiting[path].unfinished.mark  # a new folder, by another
            if DELETED in kinds[path] or replaced:
                del self._waiting[path]
            else:
                del kinds[path]  # `_finish` checks it until it is whole
        if kinds:
            await self._handle_inspected(self._inspector.inspect_changes(kinds))
        if self._inspector.opened:  # the system does not yet watch below it
            raise WatchEnded
        if len(changes) >= MANY:
            self._overrun = True
        elif self._overrun:  # the burst is over
            self._overrun = False
            self._mark_missed("")

    async def _handle_inspected(self, inspected: Iterator[PathChange], delays: Mapping[str, float] = NONE) -> None:
        """Handle inspected paths; `delays` are those of files inspected before."""
        while chunk := await self._next_chunk(inspected):
            for found in chunk:
                if isinstance(found, UnfinishedPath):
                    self._wait_for(found, delays.get(found.path, FIRST if found.mark else AGAIN))
                elif isinstance(found, DeletedFolder):
                    self._mark_missed(found.prefix)
                elif isinstance(found, UnreadablePath):
                    self._report_unreadable(found)
                elif isinstance(found, SpecialFile):
                    self._watched.special(found.path, found.mode)
            if events := [found for found in chunk if isinstance(found, ObjectEvent)]:
                await self.send_events(await self._filter(events))
        if self._inspector.opened:
            self._wake_watch()  # it ends

    async def _next_chunk(self, inspected: Iterator[PathChange]) -> list[PathChange]:
        async with self._looking:
            return await asyncio.to_thread(lambda: list(islice(inspected, BATCH)))

    async def _filter(self, events: list[ObjectEvent]) -> list[ObjectEvent]:
        failures = FailureReporter(self._watched.store, self._observer)
        while self._filter_events is not None:
            try:
                return await self._filter_events(events)
            except SkyferryError as error:  # the ledger is down; the events must not be lost
                failures.report(error, LONGEST)
                await self._clock.sleep(LONGEST)
        return events

    async def send_events(self, events: list[ObjectEvent]) -> None:
        """Send events, with retries until the queue takes them."""
        if not events:
            return
        delay = FIRST
        failures = FailureReporter(self._watched.store, self._observer)
        while True:
            try:
                await self._send(events)
                break
            except QueueError as error:  # the events must not be lost
                failures.report(error, delay)
                await self._clock.sleep(delay)
                delay = min(2 * delay, LONGEST)
        for event in events:
            self._observer.on(
                Record(
                    "watch.noticed",
                    correlation_id=event.correlation_id,
                    event_id=event.event_id,
                    store=self._watched.store,
                    key=event.source.key,
                    operation=event.change,
                    bytes=event.size,
                )
            )

    def _wait_for(self, unfinished: UnfinishedPath, delay: float) -> None:
        if len(self._waiting) >= UNFINISHED:
            if not self._overrun:  # the burst may have ended, and no change may come
                asyncio.get_running_loop().call_later(LONGEST, lambda: self._wake_watch())
            self._overrun = True  # a reconciliation finds it after the burst
            return
        self._waiting[unfinished.path] = _Waiting(unfinished, self._clock.monotonic() + delay, delay)
        self._wake.set()

    async def _finish(self) -> None:
        """Inspect unfinished paths until they are whole."""
        while True:
            if not self._waiting:
                self._wake.clear()
                await self._wake.wait()
            now = self._clock.monotonic()
            due = [w for w in self._waiting.values() if w.due <= now]
            for waiting in due:  # removed first, so that later changes are noticed as usual
                del self._waiting[waiting.unfinished.path]
            delays = {w.unfinished.path: min(2 * w.delay, LONGEST) for w in due}
            try:
                with self._work():
                    await self._handle_inspected(self._inspector.inspect_again([w.unfinished for w in due]), delays)
            except OSError as error:
                self._failures.report(error, LONGEST)
                self._mark_missed("")  # a listing finds the files
            await self._clock.sleep(FIRST)

    @contextmanager
    def _work(self) -> Iterator[None]:
        self._busy += 1
        try:
            yield
        finally:
            self._busy -= 1

    def _mark_missed(self, prefix: str) -> None:
        self._missed_prefixes.add(prefix)
        self._any_missed.set()

    async def _reconcile_missed(self) -> None:
        failures = FailureReporter(self._watched.store, self._observer)
        while True:
            await self._any_missed.wait()
            self._any_missed.clear()
            prefixes, self._missed_prefixes = self._missed_prefixes, set()
            self._begun += 1
            try:
                with self._work():
                    await self._missed([""] if "" in prefixes else sorted(prefixes))
                failures.reset()
                self.failure = None
                self._end_reconciliation()
            except (SkyferryError, OSError) as error:  # a store or the ledger is down, or no file descriptor is left
                self.failure = _permanent(error)
                self._missed_prefixes |= prefixes
                self._any_missed.set()
                self._end_reconciliation()
                failures.report(error, LONGEST)
                await self._clock.sleep(LONGEST)

    def _end_reconciliation(self) -> None:
        self._ended = self._begun
        self._listed.set()

    def _report_unreadable(self, found: UnreadablePath) -> None:
        self._observer.on(Record("watch.unreadable", store=self._watched.store, key=found.path, message=found.message))


def _permanent(error: SkyferryError | OSError) -> SkyferryError | None:
    return error if isinstance(error, SkyferryError) and error.disposition is Disposition.PERMANENT else None


def _describe_listing(error: StoreUnavailable | OSError) -> StoreUnavailable:
    """Return the error with what happens until it is corrected."""
    known = error if isinstance(error, StoreUnavailable) else StoreUnavailable(str(error))
    return StoreUnavailable(
        f"{known.message}; until then it is listed, for a tenth of the time at most", where=known.where, hint=known.hint
    )
