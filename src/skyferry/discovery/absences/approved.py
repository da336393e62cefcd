"""Sends the held deletes that a person has approved, as ordinary events: the engine looks at the source first."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from skyferry.discovery.folder.look import event_of
from skyferry.errors import SkyferryError
from skyferry.model import Change, ObjectEvent, Position
from skyferry.ports import Clock, HeldDelete, HeldDeletes, Observer
from skyferry.records import Record

PAGE = 500  # deletes sent at once
EVERY = 1.0  # seconds between looks


class ApprovedDeletes:
    """Several processes may do so: a delete that is sent twice is one transfer."""

    def __init__(
        self,
        ledger: HeldDeletes,
        send: Callable[[list[ObjectEvent]], Awaitable[None]],
        clock: Clock,
        observer: Observer,
    ) -> None:
        """`send` may raise QueueError, and is called again."""
        self._ledger, self._send, self._clock, self._observer = ledger, send, clock, observer
        self._none = False

    @property
    def idle(self) -> bool:
        """None was left at the last look."""
        return self._none

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                await self.send_all()
                self._none = True
            except SkyferryError:  # ledger or queue are down: their own observers hear of it
                self._none = False
            await self._clock.sleep(EVERY)

    async def send_all(self) -> int:
        """Send all there are; how many. Raises LedgerError, QueueError."""
        sent = 0
        while found := await self._ledger.list_approved_deletes(PAGE):
            self._none = False
            await self._send([_event(held) for held in found])
            await self._ledger.forget_deletes([held.id for held in found])
            for store in sorted({held.store for held in found}):
                count = sum(held.store == store for held in found)
                self._observer.on(Record("deletes.approved", store=store, count=count))
            sent += len(found)
        return sent


def _event(held: HeldDelete) -> ObjectEvent:
    at = Position.at(int((held.decided_at or held.at) * 1e9))
    return event_of(Change.DELETED, held.source, "", at, None)
