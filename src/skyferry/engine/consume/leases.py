"""Renew the leases of messages and claims in flight."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress

from skyferry.engine.consume.attempt import MARGIN, find_lease_end
from skyferry.engine.consume.in_flight import InFlight, LeasedMessage
from skyferry.engine.context import EngineContext
from skyferry.errors import LedgerError, QueueError
from skyferry.ports import EventQueue

ROUNDS = 3  # within one lease
PRECISION = 0.001  # seconds by which the end of a lease may be noticed late
DUE = 0.9  # of a lease: a message whose lease lasts longer than this is not renewed yet


class LeaseKeeper:
    """Renews every lease in flight, also those of messages that wait. A queue that hangs does not delay others."""

    def __init__(self, context: EngineContext, in_flight: InFlight) -> None:
        self._context, self._in_flight = context, in_flight

    async def run(self, queues: Sequence[EventQueue]) -> None:
        """Renew leases until cancelled."""
        async with asyncio.TaskGroup() as group:
            for queue in queues:
                group.create_task(self._renew_messages(queue), name=f"keep leases of {queue.name}")
            group.create_task(self._renew_claims(), name="keep claims")
            group.create_task(self._abort_ended(), name="abort at the end of leases")

    async def _renew_messages(self, queue: EventQueue) -> None:
        async for _ in self._rounds(lambda: queue.lease):
            by_duration: dict[float, list[LeasedMessage]] = {}
            now = self._context.clock.monotonic()
            for leased in self._in_flight.messages:
                if leased.queue is queue and leased.lease_until < now + DUE * queue.lease:
                    by_duration.setdefault(self._in_flight.waiting.lease(leased, queue, now), []).append(leased)
            with suppress(QueueError, TimeoutError):  # the next round comes before the lease ends
                async with asyncio.timeout(queue.lease / 2):  # also if this call hangs
                    for seconds, batch in by_duration.items():
                        await self._extend(queue, batch, seconds, now)

    async def _extend(self, queue: EventQueue, batch: Sequence[LeasedMessage], seconds: float, now: float) -> None:
        """Renew for `seconds`. A waiting message whose lease is lost leaves: the queue delivers it again.

        One that must mend what this worker did stays: another worker would find its transfers settled.
        """
        messages = [leased.message for leased in batch]
        extended = queue.extend(messages, seconds) if seconds > queue.lease else queue.extend(messages)
        lost = {message.receipt for message in await extended}
        for leased in batch:
            leased.lease_until = now + seconds
            if leased.message.receipt in lost and leased in self._in_flight.waiting and not leased.undone:
                self._in_flight.waiting.leave(leased)
                self._in_flight.remove_message(leased)

    async def _renew_claims(self) -> None:
        async for _ in self._rounds(lambda: self._context.ledger.lease):
            ends = find_lease_end(self._context.clock, self._context.ledger.lease)
            held = self._in_flight.list_held()
            with suppress(LedgerError, TimeoutError):  # the next round comes before the leases end
                async with asyncio.timeout(self._context.ledger.lease / ROUNDS / 2):  # also if this call hangs
                    lost = await self._context.ledger.renew([claim for claim, _ in held]) if held else []
                ids = {claim.transfer.id for claim in lost}
                for claim, lease in held:
                    if claim.transfer.id in ids:
                        lease.lost = True
                    else:
                        lease.renew(ends)

    async def _abort_ended(self) -> None:
        """Abort the work of each lease that ends. A lease of a later claim ends later than the next that is known."""
        clock, longest = self._context.clock, self._context.ledger.lease * (1 - MARGIN)
        while True:
            leases = [task.lease for task in self._in_flight.tasks.values() if task.claim is not None]
            for lease in leases:
                lease.abort_if_ended()
            left = min((lease.left for lease in leases if lease.is_held), default=longest)
            await clock.sleep(max(PRECISION, min(left, longest)))

    async def _rounds(self, lease: Callable[[], float]) -> AsyncIterator[None]:
        """Yield three times within a lease, however long each round takes. The first receive may find a shorter one."""
        clock, due = self._context.clock, self._context.clock.monotonic()
        while True:
            due = max(due + lease() / ROUNDS, clock.monotonic())
            await clock.sleep(due - clock.monotonic())
            yield
