"""Observe requests to a store."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from skyferry.errors import SkyferryError
from skyferry.ports import Clock, ObjectData, ObjectStore, Observer
from skyferry.ports.decorators import Operation, StoreDecorator
from skyferry.records import Record

T = TypeVar("T")


class InstrumentedStore(StoreDecorator):
    """Reports each request with its duration, its bytes and its error."""

    def __init__(self, inner: ObjectStore, clock: Clock, observer: Observer) -> None:
        super().__init__(inner)
        self._clock, self._observer = clock, observer

    async def _request(
        self, operation: Operation, key: str, size: int, call: Callable[..., Coroutine[Any, Any, T]], *args: Any
    ) -> T:
        began, moved, error = self._clock.monotonic(), size if operation.sends else 0, ""
        try:
            answer = await call(*args)
            if isinstance(answer, ObjectData):
                moved = len(answer.data)
            return answer
        except SkyferryError as problem:
            error = problem.kind
            raise
        finally:
            duration = self._clock.monotonic() - began
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
