"""The reports of a child."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from skyferry.engine.service import Service
from skyferry.processes import worker
from skyferry.processes.channel import Channel
from skyferry.processes.record_frames import RecordBuffer
from skyferry.records import Record


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
        self.turns = 0

    def send(self, name: str, value: Any = None) -> None:
        self.sent.append((name, value))

    async def flush(self) -> None:
        """Count the turns."""
        self.turns += 1

    async def reach(self, turns: int) -> None:
        """Wait until there were so many turns."""
        async with asyncio.timeout(20):
            while self.turns < turns:
                await asyncio.sleep(0.001)


@pytest.fixture
def ticking(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Make turns short."""
    monkeypatch.setattr(worker, "TICK", 0.001)
    return monkeypatch


@asynccontextmanager
async def reporting(service: FakeService, records: RecordBuffer) -> AsyncIterator[FakeChannel]:
    channel = FakeChannel()
    task = asyncio.create_task(worker._report(cast(Service, service), records, cast(Channel, channel)))
    try:
        yield channel
    finally:
        task.cancel()


async def test_a_report_is_made_when_its_time_has_come_and_when_the_work_begins_or_ends(
    ticking: pytest.MonkeyPatch,
) -> None:
    """It goes through all that is in flight, which may be thousands of messages."""
    ticking.setattr(worker, "REPORT", 3600.0)
    service = FakeService()
    async with reporting(service, RecordBuffer("metrics")) as channel:
        await channel.reach(20)
        assert service.reports == 1
        service.idle = True
        await channel.reach(channel.turns + 1)
        assert [name for name, _ in channel.sent] == ["report"] * 2
    ticking.setattr(worker, "REPORT", 0.0)
    async with reporting(service, RecordBuffer("metrics")) as channel:
        await channel.reach(5)
        assert len(channel.sent) >= 5


async def test_an_idle_child_waits_for_its_next_record(ticking: pytest.MonkeyPatch) -> None:
    ticking.setattr(worker, "REPORT", 3600.0)
    service, records = FakeService(), RecordBuffer("metrics")
    service.idle = True
    async with reporting(service, records) as channel:
        await channel.reach(1)
        await asyncio.sleep(0.1)
        assert channel.turns == 1
        records.on(Record("queue.received"))
        await channel.reach(2)
        assert [name for name, _ in channel.sent] == ["report", "records"]


async def test_an_idle_child_reports_in_time(ticking: pytest.MonkeyPatch) -> None:
    ticking.setattr(worker, "REPORT", 0.01)
    service = FakeService()
    service.idle = True
    async with reporting(service, RecordBuffer("progress")) as channel:
        await channel.reach(3)
    assert service.reports >= 3
