"""Observe requests to a store, for its limit of concurrent requests too."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from skyferry.engine.concurrency.concurrency_limit import ConcurrencyLimit
from skyferry.errors import SkyferryError, Throttled
from skyferry.ports import Clock, ObjectData, ObjectStore, Observer
from skyferry.ports.decorators import Operation, StoreDecorator
from skyferry.records import Record

T = TypeVar("T")
SMALL = 64 * 2**10  # bytes; up to it, sizes make no difference to the latency


class InstrumentedStore(StoreDecorator):
    """Reports each request with its duration, its bytes and its error."""

    def __init__(
        self, inner: ObjectStore, clock: Clock, observer: Observer, limit: ConcurrencyLimit | None = None
    ) -> None:
        super().__init__(inner)
        self._clock, self._observer, self._limit = clock, observer, limit

    async def _request(
        self, operation: Operation, key: str, size: int, call: Callable[..., Coroutine[Any, Any, T]], *args: Any
    ) -> T:
        began, moved, error = self._clock.monotonic(), size if operation.sends else 0, ""
        problem: SkyferryError | None = None
        try:
            answer = await call(*args)
            if isinstance(answer, ObjectData):
                moved = len(answer.data)
            return answer
        except SkyferryError as raised:
            problem, error = raised, raised.kind
            raise
        finally:
            now = self._clock.monotonic()
            duration = now - began
            if self._limit is not None:
                # A lost connection or a timeout says nothing of the store's capacity.
                if problem is None or not problem.outage:
                    self._limit.record((operation.name, (moved // SMALL).bit_length(), error), duration, now)
                elif isinstance(problem, Throttled):
                    self._limit.record_throttle(now)
            problem = None  # with it, this frame and the error's traceback would refer to each other
            self._observer.on(
                Record(
                    "store.request",
                    store=self.name,
                    operation=operation.name,
                    duration=duration,
                    bytes=moved,
                    error=error,
                )
            )
