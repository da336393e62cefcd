"""Reports of consecutive failures, at growing intervals: a retry each second must not fill the log."""

from __future__ import annotations

from skyferry.errors import InternalError, SkyferryError
from skyferry.ports import Observer
from skyferry.records import Record


class FailureReporter:
    """A counter that reports the 1st, 2nd, 4th, 8th … consecutive failure as `watch.failed`."""

    def __init__(self, store: str, observer: Observer) -> None:
        self._store, self._observer, self._count = store, observer, 0

    def report(self, error: SkyferryError | OSError, delay: float) -> None:
        """Count a failure that is retried after `delay` seconds."""
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

    def reset(self) -> None:
        """Reset the count after a success."""
        self._count = 0
