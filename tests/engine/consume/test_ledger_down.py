"""A worker that reaches its queue but not its ledger holds few messages, and works on at the first answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tests.engine.lab import Lab

from skyferry.engine.consume.trials import HELD
from skyferry.engine.consume.worker import WorkerPolicy
from skyferry.errors import LedgerError
from skyferry.ports import Clock
from skyferry.queues.memory import MemoryQueue

HOUR = 3600.0
POLICY = WorkerPolicy(batch=16, drain=0.0)


class Silent:
    """A ledger that answers no claim while it is `down`, and never one of the key `refused`."""

    def __init__(self, inner: Any, clock: Clock) -> None:
        self._inner, self._clock = inner, clock
        self.down, self.refused = True, ""
        self.answered: list[float] = []  # when each claim was

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def claim(self, transfers: Sequence[Any]) -> Any:
        if self.down or self.refused in {each.key for each in transfers}:
            raise LedgerError("simulated")
        self.answered += [self._clock.monotonic()] * len(transfers)
        return await self._inner.claim(transfers)


async def announce(lab: Lab, count: int) -> Silent:
    names = [f"k{number}" for number in range(count)]
    for name in names:
        await lab.put(name)
    await lab.send(*names)
    return Silent(lab.ledger(), lab.clock)


async def test_few_messages_are_held() -> None:
    """The others stay in the queue, for workers that reach the ledger. At the first answer they are received at once."""
    lab = Lab()
    ledger = await announce(lab, 1000)
    worker = lab.worker(ledger, POLICY)
    async with lab.running(worker):
        await lab.clock.advance(HOUR)
        assert 0 < worker.waiting <= HELD
        assert (await MemoryQueue("events", lab.clock, lab.lease, lab.queue_state).depth()).ready >= 1000 - HELD
        ledger.down = False
        await lab.until(lambda: bool(ledger.answered), step=1, steps=120)
        await lab.until(lambda: len(lab.bucket.objects) == 1000, step=0.1, steps=100)
    assert set(lab.received.values()) == {1}


async def test_what_waits_is_processed_at_the_first_answer() -> None:
    """And not only at the end of its own pause, which is up to a minute."""
    lab = Lab()
    ledger = await announce(lab, 10)
    async with lab.running(lab.worker(ledger, POLICY)):
        await lab.clock.advance(HOUR)
        ledger.down = False
        await lab.until(lambda: len(ledger.answered) == 10, step=0.1, steps=1200)
        assert ledger.answered[-1] - ledger.answered[0] <= 1.0


async def test_one_claim_that_always_fails_does_not_keep_the_others_waiting() -> None:
    """It is claimed together with others, which fail as well, and wait for the same answer."""
    lab = Lab()
    ledger = await announce(lab, 300)
    ledger.down, ledger.refused = False, "k7"
    async with lab.running(lab.worker(ledger, POLICY)):
        await lab.until(lambda: len(lab.bucket.objects) == 299, step=1, steps=300)
