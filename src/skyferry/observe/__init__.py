"""Adapters of the Observer port: logs, metrics, traces. Import `traces` by name, since it needs an extra."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from skyferry.observe.logs import LogObserver
from skyferry.observe.stdlib import capture_stdlib
from skyferry.ports import Observer
from skyferry.records import Record

if TYPE_CHECKING:
    from skyferry.observe.metrics import MetricsObserver

__all__ = ["Fanout", "LogObserver", "MetricsObserver", "capture_stdlib"]


def __getattr__(name: str) -> Any:
    """Import the metrics on first use: only a service has any."""
    if name != "MetricsObserver":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from skyferry.observe.metrics import MetricsObserver

    return MetricsObserver


class Fanout:
    """Passes each record to several observers, in order."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._handlers = tuple(observer.on for observer in observers)

    def on(self, record: Record) -> None:
        """Pass one record on."""
        for handle in self._handlers:
            handle(record)
