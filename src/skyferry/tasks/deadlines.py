"""One timer for the deadlines of all requests, in place of a timer for each."""

from __future__ import annotations

import asyncio
from math import inf
from typing import Generic, Protocol, TypeVar


class Expiring(Protocol):
    """A request with a deadline, which may move at any time."""

    deadline: float  # time of the event loop

    def expire(self) -> None:
        """Fail: the deadline has passed."""


T = TypeVar("T", bound=Expiring)


class DeadlineSweep(Generic[T]):
    """Expires requests. A deadline that moves to a later time costs nothing; there is no timer without requests."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.watched: dict[T, None] = {}  # a set in a stable order
        self._timer: asyncio.TimerHandle | None = None
        self._next = inf  # when the timer fires

    def watch(self, request: T) -> None:
        """Begin to watch a request; also to be called when its deadline moves to an earlier time."""
        self.watched[request] = None
        if request.deadline < self._next:
            self._set_timer(request.deadline)

    def forget(self, request: T) -> None:
        """Stop watching a request."""
        self.watched.pop(request, None)

    def stop(self) -> None:
        """Stop the timer."""
        self._set_timer(inf)

    def _sweep(self) -> None:
        now, earliest = self._loop.time(), inf
        self._timer, self._next = None, inf
        for request in tuple(self.watched):
            if request.deadline <= now:
                request.expire()
                request.deadline = inf  # it is watched until it has ended
            else:
                earliest = min(earliest, request.deadline)
        if earliest < self._next:
            self._set_timer(earliest)

    def _set_timer(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._next = (self._loop.call_at(when, self._sweep) if when < inf else None), when
