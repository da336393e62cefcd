"""The port of observation."""

from __future__ import annotations

from typing import Protocol

from skyferry.records import Record


class Observer(Protocol):
    """Receives every step as a record. MUST NOT block, raise or keep the mutable parts of a record."""

    def on(self, record: Record) -> None:
        """Take one record. Called on the event loop, in the order of the steps."""
