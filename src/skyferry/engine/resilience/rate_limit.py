"""Limit the rate of requests and bytes to a store."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from skyferry.errors import StoreError
from skyferry.frozen import dataclass
from skyferry.ports import Clock, ObjectData, ObjectStore, Observer
from skyferry.ports.decorators import Operation, StoreDecorator
from skyferry.records import Record

T = TypeVar("T")


class RateLimiter:
    """A rate of units per second, with a burst of one second. Debt is allowed, so that one large request can pass."""

    def __init__(self, rate: float, clock: Clock) -> None:
        """A `rate` of 0 does not limit."""
        self._rate, self._clock = rate, clock
        self._ready_at = 0.0
        self.waiting = 0

    async def take(self, units: float) -> float:
        """Wait until the units are available. Return the seconds waited."""
        if not self._rate:
            return 0.0
        now = self._clock.monotonic()
        start = max(self._ready_at, now - 1.0)
        self._ready_at = start + units / self._rate
        wait = start - now
        if wait <= 0:
            return 0.0
        self.waiting += 1
        try:
            await self._clock.sleep(wait)
        finally:
            self.waiting -= 1
        return wait


@dataclass(frozen=True, slots=True)
class RateLimits:
    """The two rate limits of one store."""

    requests: RateLimiter
    bytes: RateLimiter

    @property
    def waiting(self) -> int:
        """Requests that wait."""
        return self.requests.waiting + self.bytes.waiting


class RateLimitedStore(StoreDecorator):
    """Delays requests to keep within the limits. The bytes of a read are counted after it, when their number is known."""

    def __init__(self, inner: ObjectStore, limits: RateLimits, observer: Observer) -> None:
        super().__init__(inner)
        self._limits, self._observer = limits, observer

    async def _request(
        self, operation: Operation, key: str, size: int, call: Callable[..., Coroutine[Any, Any, T]], *args: Any
    ) -> T:
        requests, data = self._limits.requests, self._limits.bytes
        self._report(await requests.take(1) + await data.take(size if operation.sends else 0))
        try:
            answer = await call(*args)
        except StoreError as broken:
            if broken.partial:
                self._report(await data.take(len(broken.partial)))
            raise
        if isinstance(answer, ObjectData):
            self._report(await data.take(len(answer.data)))
        return answer

    def _report(self, waited: float) -> None:
        if waited:
            self._observer.on(Record("limiter.waited", store=self.name, duration=waited))
