"""The context that the parts of an engine share."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import field
from typing import TypeVar

from skyferry.engine.concurrency.concurrency_limit import ConcurrencyLimit
from skyferry.engine.resilience.circuit_breaker import Breaker
from skyferry.engine.telemetry import Reporter
from skyferry.frozen import dataclass
from skyferry.model import Claim, Transfer
from skyferry.ports import Clock, Ledger, Observer
from skyferry.ports.ledger import Settled, Settlement, Wait
from skyferry.records import Record
from skyferry.routing.routes import Route

Item = TypeVar("Item")
Answer = TypeVar("Answer")
UNCLAIMED = 16_384  # destination keys whose claim had no answer: more than a worker has in hand


class UnansweredClaims:
    """Destination keys with a claim that had no answer, by hash.

    Such a claim may have taken the key over from another worker. The next one finds this worker to be the owner already.
    """

    def __init__(self) -> None:
        self._keys: dict[int, None] = {}  # in order of the claims

    def record(self, transfers: Iterable[Transfer]) -> None:
        """Record that a claim of these transfers had no answer."""
        for each in transfers:
            self._keys[hash((each.store, each.key))] = None
        while len(self._keys) > UNCLAIMED:
            del self._keys[next(iter(self._keys))]

    def end(self, transfer: Transfer) -> bool:
        """Record that a claim of the transfer was granted. Return True if an earlier one of its key had no answer."""
        if not self._keys:
            return False
        return self._keys.pop(hash((transfer.store, transfer.key)), False) is None


@dataclass(frozen=True, slots=True)
class EngineContext:
    """The ports and the state that the parts of one engine have in common."""

    ledger: Ledger
    routes: Mapping[str, Route]  # by name
    breakers: Mapping[str, Breaker]  # by store
    clock: Clock
    random: random.Random
    observer: Observer
    limits: Mapping[str, ConcurrencyLimit] = field(default_factory=dict)  # by store; one without a limit takes the most
    unanswered: UnansweredClaims = field(default_factory=UnansweredClaims)

    @property
    def reporter(self) -> Reporter:
        """Return a reporter for the observer."""
        return Reporter(self.observer, self.clock)

    async def claim(self, transfers: Sequence[Transfer]) -> Sequence[Claim | Settled | Wait]:
        """Claim transfers in the ledger, and report how long it took.

        Expect late changes of each key that was taken over, by this claim or perhaps by an earlier one that had no answer.
        """
        try:
            answers = await self._request("claim", self.ledger.claim, transfers)
        except BaseException:  # also if it is cancelled
            self.unanswered.record(transfers)
            raise
        for answer in answers:
            if isinstance(answer, Claim):
                unanswered = self.unanswered.end(answer.transfer)
                if (answer.taken_over or unanswered) and (at := self.breakers.get(answer.transfer.store)):
                    at.expect_late_changes(answer.transfer.key)
        return answers

    async def settle(self, settlements: Sequence[Settlement]) -> Sequence[bool]:
        """Settle transfers in the ledger, and report how long it took."""
        return await self._request("settle", self.ledger.settle, settlements)

    async def _request(
        self, operation: str, call: Callable[[Sequence[Item]], Awaitable[Sequence[Answer]]], batch: Sequence[Item]
    ) -> Sequence[Answer]:
        began = self.clock.monotonic()
        try:
            return await call(batch)
        finally:
            duration = self.clock.monotonic() - began
            self.observer.on(Record("ledger.request", operation=operation, count=len(batch), duration=duration))
