"""Limit the time of requests to a store."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from skyferry.errors import StoreTimeout
from skyferry.ports import Clock, ObjectStore
from skyferry.ports.decorators import (
    COPY_FROM,
    COPY_PART,
    FINISH_UPLOAD,
    READ,
    SET_ATTRIBUTES,
    WRITE,
    WRITE_PART,
    Operation,
    StoreDecorator,
)

T = TypeVar("T")
LINE = 256 * 2**10  # bytes a second of a slow line, which is no failure
PROVIDER = 16 * 2**20  # bytes a second at which a provider copies, or assembles parts, by itself
PACES = {
    **dict.fromkeys((READ, WRITE, WRITE_PART), LINE),
    **dict.fromkeys((FINISH_UPLOAD, COPY_FROM, COPY_PART, SET_ATTRIBUTES), PROVIDER),
}


class PendingRequests:
    """The requests in progress to one store."""

    def __init__(self) -> None:
        self.due: dict[object, float] = {}  # when each should be answered, before its time limit; monotonic seconds

    def overdue(self, now: float) -> float:
        """Return the seconds by which the slowest request is late at `now` (monotonic); not above 0 if none is."""
        return now - min(self.due.values(), default=math.inf)


class TimeoutStore(StoreDecorator):
    """Ends a request that takes longer than `timeout` seconds, plus the time that its data take at the slowest pace."""

    def __init__(self, inner: ObjectStore, clock: Clock, timeout: float, pending: PendingRequests) -> None:
        super().__init__(inner)
        self._clock, self._timeout, self._due = clock, timeout, pending.due

    async def _request(
        self, operation: Operation, key: str, size: int, call: Callable[..., Coroutine[Any, Any, T]], *args: Any
    ) -> T:
        allowance = size / PACES[operation] if size else 0.0
        timeout, request = self._timeout + allowance, object()
        self._due[request] = self._clock.monotonic() + allowance
        try:
            async with asyncio.timeout(timeout):
                return await call(*args)
        except TimeoutError as late:
            raise StoreTimeout(f"no answer within {timeout:g} s", where=f"{self.name} {key}") from late
        finally:
            del self._due[request]
