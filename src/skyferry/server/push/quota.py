"""A quota for requests to other services that an unauthenticated request can cause."""

from __future__ import annotations

from collections.abc import Callable


class Quota:
    """A token bucket of `burst` tokens, refilled with one every `pause` seconds."""

    def __init__(self, burst: int, pause: float, clock: Callable[[], float]) -> None:
        self._burst, self._pause, self._clock = burst, pause, clock
        self._left, self._at = float(burst), clock()

    def take(self) -> bool:
        """Take a token. Return False if none is left."""
        now = self._clock()
        self._left = min(float(self._burst), self._left + max(0.0, now - self._at) / self._pause)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True
