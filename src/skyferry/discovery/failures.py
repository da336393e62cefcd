"""Failures in a row, reported ever more rarely: what is tried again every second must not fill the log."""

from __future__ import annotations

from skyferry.errors import InternalError, SkyferryError
from skyferry.ports import Observer
from skyferry.records import Record


class Failures:
    """Reports the 1st, 2nd, 4th, 8th … failure in a row as `watch.failed`."""

    def __init__(self, store: str, observer: Observer) -> None:
        self._store, self._observer, self._count = store, observer, 0

    def add(self, error: SkyferryError | OSError, delay: float) -> None:
        """One more; it is tried again after `delay` seconds."""
        self._count += 1
        if self._count & (self._count - 1):
            return
        self._observer.on(
            Record(
                "watch.failed",
                store=self._store,
                error=error.kind if isinstance(error, SkyferryError) else InternalError.kind,
                message=str(error),
                delay=delay,
                count=self._count,
            )
        )

    def end(self) -> None:
        """It has worked."""
        self._count = 0
