"""The records of transfers: each value is in the field of its name."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from skyferry.clock import SystemClock
from skyferry.engine.telemetry import Reporter
from skyferry.model import Change, ObjectRef, Provider, Transfer
from skyferry.records import Record

GIVEN: dict[str, Any] = {
    "reason": "a reason",
    "error": "an error",
    "message": "a message",
    "hint": "a hint",
    "attempt": 1,
    "bytes": 2,
    "duration": 3.0,
    "delay": 4.0,
    "lag": 5.0,
}


class Recorder:
    """An observer that keeps the last record."""

    def on(self, record: Record) -> None:
        self.last = record


def test_a_step_fills_the_fields_by_their_names() -> None:
    """It passes them by position, which a new field in between would shift."""
    ref = ObjectRef(Provider.MEMORY, "b", "source key")
    transfer = Transfer(
        "an id",
        "a route",
        Change.CREATED,
        ref,
        "s",
        "a store",
        "a key",
        "an event",
        "a story",
        1.0,
        traceparent="a trace",
    )
    observer = Recorder()
    Reporter(observer, SystemClock())._step("transfer.dead", transfer, **GIVEN)
    known: dict[str, Any] = {
        "event": "transfer.dead",
        "correlation_id": "a story",
        "event_id": "an event",
        "transfer_id": "an id",
        "route": "a route",
        "store": "a store",
        "key": "a key",
        "operation": Change.CREATED,
        "traceparent": "a trace",
        **GIVEN,
    }
    assert observer.last == Record(**known)
    assert {each.name for each in fields(Record)} - known.keys() == {"queue", "bucket", "count", "worker"}
