"""A key with the day has the day of the object, on whatever day its event arrives."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from skyferry.config.settings import Settings
from skyferry.engine.consume.dates import Dates
from skyferry.engine.consume.in_flight import LeasedMessage
from skyferry.engine.consume.intake import EventReader
from skyferry.errors import BucketNotFound, ObjectNotFound, SkyferryError, StoreUnavailable
from skyferry.events import detect
from skyferry.events.detect import Parsed, parse_message
from skyferry.events.fields import Delivery
from skyferry.events.native import encode_event
from skyferry.model import Change, ObjectEvent, ObjectRef, Provider
from skyferry.observe import Fanout
from skyferry.ports import Message
from skyferry.queues.memory import MemoryQueue
from skyferry.routing.routes import Routes
from skyferry.testing.clock import ManualClock
from skyferry.wiring import build_service

DAY = 86400.0


def settings(folder: Path, key: str = "{yyyy}/{mm}/{dd}/{name}") -> Settings:
    for name in ("source", "destination"):
        (folder / name).mkdir(exist_ok=True)
    return Settings.model_validate(
        {
            "workspace": folder,
            "stores": {
                "source": {"url": "file://source", "watch": False},
                "destination": {"url": "file://destination"},
            },
            "routes": [{"name": "r", "from": "source", "to": "destination", "key": key}],
            "queues": [{"name": "events", "url": "sqlite://queue.db"}],
        }
    )


def event(key: str, at: datetime) -> bytes:
    source = ObjectRef(Provider.FILE, "source", key)
    return encode_event(ObjectEvent(str(uuid.uuid4()), Change.CREATED, source, at.timestamp(), str(uuid.uuid4())))


async def test_a_second_event_on_another_day_makes_no_second_copy(tmp_path: Path) -> None:
    made = datetime(2024, 2, 29, 23, 59, 59, tzinfo=UTC)
    configured = settings(tmp_path)
    (tmp_path / "source" / "a").write_text("a")
    os.utime(tmp_path / "source" / "a", (made.timestamp(), made.timestamp()))
    for days in (0, 1, 40):
        at = datetime.fromtimestamp(made.timestamp() + days * DAY, UTC)
        async with asyncio.timeout(30), build_service(configured, Fanout(())) as service:
            await service.submit([event("a", at)])
            await service.run(until_idle=True)
    found = [p.relative_to(tmp_path / "destination").as_posix() for p in (tmp_path / "destination").rglob("a")]
    assert found == ["2024/02/29/a"]


async def test_a_message_is_parsed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For the day and for the transfers; once more only where the event is submitted."""
    parsed: list[bytes] = []

    def parse(body: bytes, attributes: Mapping[str, str], delivery: Delivery) -> Parsed:
        parsed.append(body)
        return parse_message(body, attributes, delivery)

    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "a").write_bytes(b"first")
    monkeypatch.setattr(detect, "parse_message", parse)
    async with asyncio.timeout(30), build_service(settings(tmp_path), Fanout(())) as service:
        await service.submit([event("a", datetime.now(UTC))])
        assert len(parsed) == 1
        await service.run(until_idle=True)
    assert len(parsed) == 2


class Source:
    """A store whose answers are prepared."""

    def __init__(self, *answers: float | SkyferryError) -> None:
        self.answers, self.asked = list(answers), 0

    async def head(self, key: str) -> SimpleNamespace:
        self.asked += 1
        answer = self.answers.pop(0)
        if isinstance(answer, SkyferryError):
            raise answer
        return SimpleNamespace(modified=answer)


def held(folder: Path, body: bytes, source: Source, **others: Any) -> tuple[Dates, LeasedMessage]:
    routes = Routes(settings(folder, **others))
    stores: Any = {"source": source}
    message = Message("1", body, "r", 1, 0.0, 30.0)
    return Dates(EventReader(routes), routes.by_name, stores), LeasedMessage(MemoryQueue("q", ManualClock()), message)


async def note(dates: Dates, leased: LeasedMessage) -> list[LeasedMessage]:
    try:
        parsed: Parsed | SkyferryError = parse_message(leased.message.body, {})
    except SkyferryError as error:
        parsed = error
    return await dates.note_creation_times({leased: parsed}) if dates.needed else []


async def test_while_the_source_is_down_the_message_waits(tmp_path: Path) -> None:
    """With the day of the event it would have another key."""
    dates, one = held(tmp_path, event("a", datetime.now(UTC)), Source(StoreUnavailable(), 17.0))
    assert await note(dates, one) == [one]
    assert one.creation_times == {}
    assert await note(dates, one) == []
    assert list(one.creation_times.values()) == [17.0]


@pytest.mark.parametrize("error", [ObjectNotFound(), BucketNotFound()], ids=lambda e: e.kind)
async def test_what_no_waiting_mends_is_left_to_the_attempt(tmp_path: Path, error: SkyferryError) -> None:
    dates, one = held(tmp_path, event("a", datetime.now(UTC)), Source(error))
    assert await note(dates, one) == []
    assert one.creation_times == {}


@pytest.mark.parametrize(("key", "body"), [("{key}", event("a", datetime.now(UTC))), ("{yyyy}/{name}", b"no event")])
async def test_nothing_else_costs_a_request(tmp_path: Path, key: str, body: bytes) -> None:
    """A route whose key has no day, and a message that is no event."""
    source = Source()
    dates, one = held(tmp_path, body, source, key=key)
    assert await note(dates, one) == []
    assert source.asked == 0
