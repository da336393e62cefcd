"""Stop sending requests to a failing store, and try it again after a cool-down."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar

from skyferry.errors import SkyferryError, StoreUnavailable
from skyferry.ports import Clock, ObjectStore, Observer
from skyferry.ports.decorators import Operation, StoreDecorator
from skyferry.records import Record

T = TypeVar("T")


class BreakerState(StrEnum):
    """Closed: all requests pass. Open: none. Half-open: those of probes."""

    CLOSED = "closed"
    HALF_OPEN = "half_open"
    OPEN = "open"


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """The limits of a breaker, from BreakerSettings."""

    failures: int = 5
    cooldown: float = 5.0  # seconds
    max_cooldown: float = 60.0
    probes: int = 1


class Breaker:
    """The circuit breaker of one store. Failures of reads and writes are counted separately, because a full disk still reads."""

    def __init__(self, policy: BreakerPolicy, clock: Clock) -> None:
        self.state = BreakerState.CLOSED
        self._policy, self._clock = policy, clock
        self._failures = {"read": 0, "write": 0}
        self._answered = {"read": float("-inf"), "write": float("-inf")}
        self._broken = ""  # the side that opened the breaker; its success closes it
        self._cooldown = policy.cooldown
        self._until = 0.0
        self._probing = 0

    def time_to_trial(self) -> float:
        """Return the seconds until a transfer may try this store; 0 = now. After the cool-down, become half-open."""
        if self.state is BreakerState.CLOSED:
            return 0.0
        left = self._until - self._clock.monotonic()
        if left > 0:
            return left
        self.state = BreakerState.HALF_OPEN
        return 0.0 if self._probing < self._policy.probes else self._policy.cooldown / 4

    def begin_transfer(self) -> bool:
        """Return True if the transfer is a probe; then `end_probe` MUST follow."""
        if self.state is BreakerState.CLOSED:
            return False
        self._probing += 1
        return True

    def end_probe(self) -> None:
        """Free the place of a probe, however it ended."""
        self._probing -= 1

    def time_open(self) -> float:
        """Return the seconds for which requests are still refused; 0 = not at all."""
        if self.state is not BreakerState.OPEN:
            return 0.0
        return max(0.0, self._until - self._clock.monotonic())

    def record_answer(self, side: str) -> None:
        """Record a success, or an error that is no outage."""
        self._failures[side] = 0
        self._answered[side] = self._clock.monotonic()
        if self.state is not BreakerState.CLOSED and side == self._broken:
            self.state, self._cooldown = BreakerState.CLOSED, self._policy.cooldown

    def record_outage(self, side: str, retry_after: float | None) -> None:
        """Record an outage error."""
        self._failures[side] += 1
        if self.state is BreakerState.HALF_OPEN:
            self._cooldown = min(self._cooldown * 2, self._policy.max_cooldown)
            self._open(side, retry_after)
        elif self.state is BreakerState.CLOSED and self._failures[side] >= self._policy.failures:
            self._open(side, retry_after)

    def has_answered(self, side: str, since: float) -> bool:
        """Return True if the store has answered on this side since then (monotonic seconds)."""
        return self._answered[side] >= since

    def _open(self, side: str, retry_after: float | None) -> None:
        self.state, self._broken = BreakerState.OPEN, side
        self._until = self._clock.monotonic() + max(self._cooldown, retry_after or 0.0)


class CircuitBreakingStore(StoreDecorator):
    """Refuses requests while the breaker is open, and records the results of the others in it."""

    def __init__(self, inner: ObjectStore, breaker: Breaker, observer: Observer) -> None:
        super().__init__(inner)
        self._breaker, self._observer = breaker, observer

    async def _request(
        self, operation: Operation, key: str, size: int, call: Callable[..., Coroutine[Any, Any, T]], *args: Any
    ) -> T:
        breaker = self._breaker
        if (wait := breaker.time_open()) > 0:
            raise StoreUnavailable("the circuit breaker of the store is open", where=self.name, retry_after=wait)
        try:
            answer = await call(*args)
        except SkyferryError as error:
            before = breaker.state
            if not error.outage:
                breaker.record_answer(operation.side)
            elif not error.local:
                breaker.record_outage(operation.side, error.retry_after)
            self._report(before)
            raise
        before = breaker.state
        breaker.record_answer(operation.side)
        self._report(before)
        return answer

    def _report(self, before: BreakerState) -> None:
        if self._breaker.state is not before:
            self._observer.on(Record("breaker.changed", store=self.name, reason=self._breaker.state))
