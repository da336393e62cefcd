"""The ports of time, threads and observation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from skyferry.records import Record

T = TypeVar("T")


class Clock(Protocol):
    """Time, injected, so that tests never sleep."""

    def time(self) -> float:
        """Seconds since 1970."""

    def monotonic(self) -> float:
        """Seconds from an arbitrary start; never goes back."""

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds`; 0 or less yields once to other tasks."""


class Offload(Protocol):
    """Runs what would block the event loop (digests of large buffers) elsewhere; inline in simulations."""

    async def run(self, function: Callable[..., T], *args: object) -> T:
        """The result of `function(*args)`; its exception is raised as it is."""


class Observer(Protocol):
    """Hears every step. MUST NOT block, raise or keep the record's mutable parts."""

    def on(self, record: Record) -> None:
        """Called on the event loop, in the order of the steps."""
