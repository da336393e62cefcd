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
    WRITE_STREAM,
    Operation,
    StoreDecorator,
)
from skyferry.tasks.deadlines import DeadlineSweep

T = TypeVar("T")
LINE = 256 * 2**10  # bytes a second of a slow line, which is no failure
SLOW = (
    f"raise `limits.request_timeout` if the line to this store, or from the source, is slower than {LINE // 1024} KiB/s"
)
PROVIDER = 16 * 2**20  # bytes a second at which a provider copies, or assembles parts, by itself
PACES = {  # by the name of the operation
    **{operation.name: LINE for operation in (READ, WRITE, WRITE_PART, WRITE_STREAM)},
    **{operation.name: PROVIDER for operation in (FINISH_UPLOAD, COPY_FROM, COPY_PART, SET_ATTRIBUTES)},
}


class PendingRequest:
    """A request in progress. It ends as under `asyncio.timeout`, but one timer serves all requests to a store."""

    __slots__ = ("_cancelling", "_task", "deadline", "due", "expired")

    def __init__(self, loop: asyncio.AbstractEventLoop, due: float, deadline: float) -> None:
        task = asyncio.current_task(loop)
        assert task is not None  # a coroutine runs in a task
        self.due, self.deadline, self.expired = due, deadline, False
        self._task, self._cancelling = task, task.cancelling()

    def expire(self) -> None:
        """Cancel the task."""
        self.expired = True
        self._task.cancel()

    @property
    def timed_out(self) -> bool:
        """Return True if the task is cancelled by `expire` alone."""
        return self.expired and self._task.cancelling() <= self._cancelling + 1

    def end(self) -> None:
        """Take the cancellation by `expire` back."""
        self._task.uncancel()


class PendingRequests:
    """The requests in progress to one store."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._sweep: DeadlineSweep[PendingRequest] | None = None

    def overdue(self, now: float) -> float:
        """Return the seconds by which the slowest request is late at `now` (monotonic); not above 0 if none is."""
        requests = self._sweep.watched if self._sweep is not None else ()
        return now - min((request.due for request in requests), default=math.inf)

    def begin(self, due: float, timeout: float) -> PendingRequest:
        """Begin a request of this task. It should be answered by `due` (monotonic seconds); after `timeout` seconds it ends."""
        loop = asyncio.get_running_loop()
        if self._sweep is None or self._loop is not loop:
            self._loop, self._sweep = loop, DeadlineSweep(loop)
        request = PendingRequest(loop, due, loop.time() + timeout)
        self._sweep.watch(request)
        return request

    def end(self, request: PendingRequest) -> None:
        """End a request, whatever its result."""
        if self._sweep is not None:
            self._sweep.forget(request)
        if request.expired:
            request.end()

    def stop(self) -> None:
        """Stop the timer."""
        if self._sweep is not None:
            self._sweep.stop()


class TimeoutStore(StoreDecorator):
    """Ends a request that takes longer than `timeout` seconds, plus the time that its data take at the slowest pace."""

    def __init__(self, inner: ObjectStore, clock: Clock, timeout: float, pending: PendingRequests) -> None:
        super().__init__(inner)
        self._clock, self._timeout, self._pending = clock, timeout, pending

    async def close(self) -> None:
        self._pending.stop()
        await super().close()

    async def _request(
        self, operation: Operation, key: str, size: int, call: Callable[..., Coroutine[Any, Any, T]], *args: Any
    ) -> T:
        allowance = size / PACES[operation.name] if size else 0.0
        timeout = self._timeout + allowance
        request = self._pending.begin(self._clock.monotonic() + allowance, timeout)
        try:
            return await call(*args)
        except (TimeoutError, asyncio.CancelledError) as late:
            if isinstance(late, asyncio.CancelledError) and not request.timed_out:
                raise
            hint = SLOW if size and PACES[operation.name] == LINE else ""
            raise StoreTimeout(f"no answer within {timeout:g} s", where=f"{self.name} {key}", hint=hint) from late
        finally:
            self._pending.end(request)
