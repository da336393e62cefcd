"""The ports of time and of threads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

T = TypeVar("T")


class Clock(Protocol):
    """Time, injected so that tests never sleep."""

    def time(self) -> float:
        """Return seconds since 1970."""

    def monotonic(self) -> float:
        """Return seconds since an arbitrary start. The value never decreases."""

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds`; 0 or less yields once to other tasks."""


class Offload(Protocol):
    """Runs functions that would block the event loop (digests of large buffers) elsewhere; inline in simulations."""

    async def run(self, function: Callable[..., T], *args: object) -> T:
        """Return the result of `function(*args)`, or raise its exception unchanged."""
