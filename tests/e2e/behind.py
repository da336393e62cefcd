"""A service that is behind: clocks that are an hour off, its settings, and its events."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from skyferry.clock import SystemClock
from skyferry.config.settings import Settings
from skyferry.ports import Outgoing

BEHIND = 3600.0  # seconds
TABLES = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"


class Late(SystemClock):
    """An hour ago."""

    def time(self) -> float:
        return super().time() - BEHIND


class Leaping(SystemClock):
    """Lets an hour pass where the test says so."""

    leap = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + Leaping.leap


def settings(folder: Path, **others: Any) -> Settings:
    for name in ("source", "destination"):
        (folder / name).mkdir()
    return Settings.model_validate(
        {
            "workspace": folder,
            "stores": {
                "source": {"url": "file://source", "watch": False},
                "destination": {"url": "file://destination", "shared_limits": True},
            },
            "routes": [{"name": "photos", "from": "source", "to": "destination"}],
            "queues": [{"name": "events", "url": "sqlite://queue.db"}],
            "breaker": {"failures": 1, "cooldown": "1h"},
            **others,
        }
    )


def event(key: str, at: float, bucket: str = "source", **others: object) -> Outgoing:
    return Outgoing(
        json.dumps(
            {
                "schemaVersion": "1.0.0",
                "eventId": str(uuid.uuid4()),
                "correlationId": str(uuid.uuid4()),
                "timestamp": datetime.fromtimestamp(at, UTC).isoformat(),
                "source": {"provider": "file", "bucket": bucket, "key": key},
                **others,
            }
        ).encode()
    )
