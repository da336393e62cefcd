"""A message that comes while a claim of its transfer is asked for is not covered by the answer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from tests.engine.lab import Lab

from skyferry.events.native import encode_event
from skyferry.model import Claim, Failure, Transfer
from skyferry.ports import Dead, Filter, Outgoing, Settlement
from skyferry.queues.memory import MemoryQueue


class LateAnswers:
    """A ledger whose answers to claims take their time."""

    def __init__(self, ledger: Any) -> None:
        self._ledger, self.gate, self.answered = ledger, asyncio.Event(), 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)

    async def claim(self, transfers: Sequence[Transfer]) -> Any:
        answers = await self._ledger.claim(transfers)
        self.answered += 1
        await self.gate.wait()
        return answers


async def test_a_redrive_that_comes_before_the_answer_is_not_lost() -> None:
    """The answer is that the transfer is dead; it is redriven since, and its message has come."""
    lab = Lab()
    await lab.put("k")
    event, outside = lab.event("k"), lab.ledger()
    queue = MemoryQueue("events", lab.clock, lab.lease, lab.queue_state)
    body = encode_event(event)
    late = LateAnswers(lab.ledger())
    worker, other = lab.worker(late), MemoryQueue("other", lab.clock, lab.lease)
    worker._queues = [*worker._queues, other]  # a queue receives no more until its claims are answered
    (transfer,) = lab.routes.match(event)
    (claim,) = await outside.claim([transfer])
    assert isinstance(claim, Claim)
    failure = Failure(1, 1.0, "permission_denied", "no", counts_as_attempt=True)
    await outside.settle([Settlement(claim, Dead(failure, body, ()))])
    async with lab.running(worker):
        await queue.send([Outgoing(body)])
        await lab.until(lambda: late.answered == 1)
        assert await outside.redrive(Filter()) == 1
        await other.send([Outgoing(body)])
        await lab.until(lambda: len(worker._in_flight.messages) == 2)
        late.gate.set()
        await lab.until(lambda: lab.count("transfer.done") == 1)
    assert await lab.left() == 0
    assert (await other.depth()).leased == 0
