"""Renew the leases of messages and claims in flight."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress

from skyferry.engine.consume.in_flight import InFlight, LeasedMessage
from skyferry.engine.context import EngineContext
from skyferry.errors import LedgerError, QueueError
from skyferry.ports import EventQueue

ROUNDS = 3  # within one lease
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

    async def _renew_messages(self, queue: EventQueue) -> None:
        async for _ in self._rounds(queue.lease):
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
        """Renew for `seconds`. A waiting message whose lease is lost leaves: the queue delivers it again."""
        messages = [leased.message for leased in batch]
        extended = queue.extend(messages, seconds) if seconds > queue.lease else queue.extend(messages)
        lost = {message.receipt for message in await extended}
        for leased in batch:
            leased.lease_until = now + seconds
            if leased.message.receipt in lost and leased in self._in_flight.waiting:
                self._in_flight.waiting.leave(leased)
                self._in_flight.messages.pop(leased, None)

    async def _renew_claims(self) -> None:
        async for _ in self._rounds(self._context.ledger.lease):
            tasks = [task for task in self._in_flight.tasks.values() if task.claim is not None]
            with suppress(LedgerError):
                lost = await self._context.ledger.renew([task.claim for task in tasks if task.claim]) if tasks else []
                ids = {claim.transfer.id for claim in lost}
                for task in tasks:
                    if task.attempt and task.transfer.id in ids:
                        task.attempt.lease_lost = True

    async def _rounds(self, lease: float) -> AsyncIterator[None]:
        """Yield three times within a lease, however long each round takes."""
        clock, due = self._context.clock, self._context.clock.monotonic()
        while True:
            due = max(due + lease / ROUNDS, clock.monotonic())
            await clock.sleep(due - clock.monotonic())
            yield
