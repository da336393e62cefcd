"""Send approved deletes as ordinary events: the engine checks the source before it deletes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from skyferry.discovery.folder.inspector import build_event
from skyferry.errors import SkyferryError
from skyferry.model import Change, ObjectEvent, Position
from skyferry.ports import Clock, HeldDelete, HeldDeletes, Observer
from skyferry.records import Record

PAGE = 500  # deletes sent at once
EVERY = 2.0  # seconds between checks


class ApprovedDeletes:
    """Sender of approved deletes. Several processes may run one: a delete that is sent twice is one transfer."""

    def __init__(
        self,
        ledger: HeldDeletes,
        send: Callable[[list[ObjectEvent]], Awaitable[None]],
        clock: Clock,
        observer: Observer,
    ) -> None:
        """Call `send` again if it raises QueueError."""
        self._ledger, self._send, self._clock, self._observer = ledger, send, clock, observer
        self._none = False
        self.failure: SkyferryError | None = None

    @property
    def idle(self) -> bool:
        """True if the last check found no approved delete."""
        return self._none

    async def run(self) -> None:
        """Send approved deletes until cancelled."""
        while True:
            try:
                await self.send_all()
                self._none = True
            except SkyferryError:  # the ledger or the queue is down and reports it itself
                self._none = False
            await self._clock.sleep(EVERY)

    async def send_all(self) -> int:
        """Send all approved deletes and return their number. Raises LedgerError, QueueError."""
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
    return build_event(Change.DELETED, held.source, "", at, None)
