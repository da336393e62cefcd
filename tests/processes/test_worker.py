"""The reports of a child."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from skyferry.engine.service import Service
from skyferry.processes import worker
from skyferry.processes.channel import Channel
from skyferry.processes.record_frames import RecordBuffer


class FakeService:
    """A service that counts how often all that is in flight is gone through."""

    idle = False
    reports = 0

    def report(self) -> int:
        self.reports += 1
        return self.reports


class FakeChannel:
    """A channel that keeps what is sent."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, Any]] = []

    def send(self, name: str, value: Any = None) -> None:
        self.sent.append((name, value))

    async def flush(self) -> None:
        """Wait for nothing."""


async def test_a_report_is_made_once_a_second_and_when_the_work_begins_or_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes through all that is in flight, which may be thousands of messages; records are looked for 20 times a second."""
    ticks = 0

    async def sleep(seconds: float) -> None:
        nonlocal ticks
        ticks += 1
        if ticks == 50:
            service.idle = True
        if ticks == 55:
            raise asyncio.CancelledError

    service, channel = FakeService(), FakeChannel()
    monkeypatch.setattr("skyferry.processes.worker.asyncio.sleep", sleep)
    with pytest.raises(asyncio.CancelledError):
        await worker._report(cast(Service, service), RecordBuffer("metrics"), cast(Channel, channel))
    assert [name for name, _ in channel.sent] == ["report"] * 4
    assert service.reports == 4  # at the start, after 20 and 40 ticks, and at the change
