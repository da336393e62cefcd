"""Adapters of the Observer port: logs, metrics, traces. Import `traces` by name, since it needs an extra."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

from skyferry.ports import Observer
from skyferry.records import Record

if TYPE_CHECKING:
    from skyferry.observe.logs import LogObserver
    from skyferry.observe.metrics import MetricsObserver
    from skyferry.observe.stdlib import capture_stdlib

__all__ = ["Fanout", "LogObserver", "MetricsObserver", "capture_stdlib"]


_MODULES = {"LogObserver": "logs", "MetricsObserver": "metrics", "capture_stdlib": "stdlib"}


def __getattr__(name: str) -> Any:
    """Import logs and metrics on first use: only a service has any."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


class Fanout:
    """Passes each record to several observers, in order."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._handlers = tuple(observer.on for observer in observers)

    def on(self, record: Record) -> None:
        """Pass one record on."""
        for handle in self._handlers:
            handle(record)
