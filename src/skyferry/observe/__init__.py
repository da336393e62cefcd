"""Adapters of the Observer port: logs, metrics, traces. `traces` is imported by name, for it needs an extra."""

from __future__ import annotations

from collections.abc import Sequence

from skyferry.observe.logs import LogObserver
from skyferry.observe.metrics import MetricsObserver
from skyferry.observe.stdlib import capture_stdlib
from skyferry.ports import Observer
from skyferry.records import Record

__all__ = ["Fanout", "LogObserver", "MetricsObserver", "capture_stdlib"]


class Fanout:
    """Tells several observers, in order."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._hear = tuple(observer.on for observer in observers)

    def on(self, record: Record) -> None:
        """Tell each of them."""
        for hear in self._hear:
            hear(record)
