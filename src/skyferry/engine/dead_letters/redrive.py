"""Redriven dead letters, as a queue like any other: the ledger hands their messages out again."""

from __future__ import annotations

from collections.abc import Sequence

from skyferry.errors import CannotSend, LedgerError, QueueError
from skyferry.ports import Clock, Depth, Ledger, Message, Outgoing
from skyferry.ports.letters import LETTER, QUEUE, Death, kept

POLL = 0.5  # seconds between looks at the ledger


class RedriveQueue:
    """An EventQueue over `Ledger.take_redriven`. Nothing can be sent to it: letters get there by `Ledger.redrive`."""

    def __init__(self, ledger: Ledger, clock: Clock, lease: float = 30.0) -> None:
        self.name, self.lease = "redrive", lease
        self._ledger, self._clock = ledger, clock

    async def receive(self, limit: int, wait: float) -> list[Message]:
        deadline = self._clock.monotonic() + wait
        while True:
            try:
                letters = await self._ledger.take_redriven(limit, self.lease)
            except LedgerError as error:
                raise QueueError(error.message, where=error.where, hint=error.hint) from error
            if letters or self._clock.monotonic() >= deadline:
                break
            await self._clock.sleep(min(POLL, wait))
        now = self._clock.time()
        return [
            Message(
                id=letter.id,
                body=letter.body,
                receipt=f"{letter.id} {letter.at!r}",  # this death: it may die again, and be redriven, before it is acked
                attempt=1,
                enqueued_at=letter.redriven_at or now,
                lease_until=now + self.lease,
                attributes=(*kept(letter.attributes), (LETTER, letter.id), (QUEUE, letter.queue)),
            )
            for letter in letters
        ]

    async def extend(self, messages: Sequence[Message], seconds: float = 0.0) -> list[Message]:
        await self._finish(messages, self._clock.time() + max(self.lease, seconds))
        return []

    async def ack(self, messages: Sequence[Message]) -> None:
        await self._finish(messages, None)

    async def release(self, messages: Sequence[Message], delay: float) -> None:
        await self._finish(messages, self._clock.time() + delay)

    async def send(self, messages: Sequence[Outgoing]) -> list[str]:
        raise CannotSend("nothing can be sent to it", where=self.name, hint="redrive dead letters instead")

    async def depth(self) -> Depth:
        return Depth(0, 0, 0, 0.0)

    async def close(self) -> None:
        """The ledger is closed by who opened it."""

    async def _finish(self, messages: Sequence[Message], again: float | None) -> None:
        try:
            await self._ledger.finish_redriven([_death(m.receipt) for m in messages], again)
        except LedgerError as error:
            raise QueueError(error.message, where=error.where, hint=error.hint) from error


def _death(receipt: str) -> Death:
    name, at = receipt.rsplit(" ", 1)
    return Death(name, float(at))
