"""`submit`: events from the command line, a file or a pipe are in the queue when it returns."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

import orjson
import pytest

from skyferry.clock import SystemClock
from skyferry.errors import QueueError
from skyferry.events import native
from skyferry.model import Change, ObjectEvent, Priority
from skyferry.ports import Message, Outgoing
from skyferry.queues.sqlite.queue import SqliteQueue

if TYPE_CHECKING:
    from tests.cli.conftest import Cli

SOURCE = {"provider": "file", "bucket": "source", "key": "a.txt"}
EVENT: dict[str, object] = {
    "schemaVersion": "1.0.0",
    "eventId": "7f0b0f6e-1c1f-4a53-9d0a-0f3f6a1f8a11",
    "correlationId": "0b8e7c1e-6a55-4c39-8f0f-5b7a3d2c9e10",
    "timestamp": "2026-11-23T08:00:00Z",
    "source": SOURCE,
}


def other(key: str) -> dict[str, object]:
    return EVENT | {"eventId": "7f0b0f6e-1c1f-4a53-9d0a-0f3f6a1f8a12", "source": SOURCE | {"key": key}}


def queued() -> list[Message]:
    """What is in the queue of the default workspace, urgent first."""

    async def receive() -> list[Message]:
        queue = SqliteQueue(Path("skyferry-data", "queue.db"), "events", "test", SystemClock())
        try:
            return await queue.receive(10, 0.0)
        finally:
            await queue.close()

    return asyncio.run(receive())


def events() -> list[ObjectEvent]:
    return [native.parse_event(message.body) for message in queued()]


def test_an_object_from_the_command_line(cli: Cli) -> None:
    result = cli("submit", "file://source/dir/a b.txt", "--deleted", "--priority", "high", "--max-retries", "7")
    assert result.code == 0
    [message] = queued()
    event = native.parse_event(message.body)
    assert (event.source.bucket, event.source.key, event.change) == ("source", "dir/a b.txt", Change.DELETED)
    assert (event.max_retries, message.priority) == (7, Priority.HIGH)
    assert event.event_id in result.out


def test_json_names_events_and_their_transfers(cli: Cli) -> None:
    [taken] = cli("submit", "file://source/a.txt", "--json").json()["events"]
    [event] = events()
    assert taken["event_id"] == event.event_id
    assert len(taken["transfer_ids"]) == 1
    assert not taken["unrouted"]


def test_an_object_that_no_route_takes_is_said_to_be_unrouted(cli: Cli) -> None:
    assert "no route matches" in cli("submit", "s3://elsewhere/a.txt").out


@pytest.mark.parametrize(
    "text",
    [
        orjson.dumps(EVENT),
        orjson.dumps([EVENT, other("b.txt")]),
        orjson.dumps(EVENT) + b"\n\n" + orjson.dumps(other("b.txt")),
    ],
    ids=["one", "array", "lines"],
)
@pytest.mark.parametrize("source", ["pipe", "file"])
def test_events_from_a_pipe_or_a_file(cli: Cli, text: bytes, source: str) -> None:
    Path("events.json").write_bytes(text)
    result = cli(
        "submit", "--file", "-" if source == "pipe" else "events.json", stdin=text if source == "pipe" else b""
    )
    assert result.code == 0, result.err
    assert sorted(event.source.key for event in events()) == ["a.txt", "b.txt"][: 1 + (b"b.txt" in text)]


def test_the_same_event_twice_is_one_message(cli: Cli) -> None:
    answers = [cli("submit", "--file", "-", "--json", stdin=orjson.dumps(EVENT)).json() for _ in range(2)]
    assert answers[0] == answers[1]
    assert len(queued()) == 1


def test_one_event_that_is_none_and_nothing_is_taken(cli: Cli) -> None:
    result = cli("submit", "--file", "-", stdin=orjson.dumps(EVENT) + b'\n{"schemaVersion": "2.0.0"}')
    assert result.code == 1
    assert result.err.startswith("error: line 2: schemaVersion: is not a supported version; no event was submitted")
    assert queued() == []


@pytest.mark.parametrize(
    "arguments", [[], ["file://source/a", "--file", "-"], ["a.txt"], ["ftp://host/a"], ["file://bucket-only"]]
)
def test_what_makes_no_sense_is_a_usage_error(cli: Cli, arguments: list[str]) -> None:
    assert cli("submit", *arguments).code == 2


def test_a_file_that_is_not_there(cli: Cli) -> None:
    result = cli("submit", "--file", "nothing.json")
    assert (result.code, result.err) == (1, "error: nothing.json: the file cannot be read: No such file or directory\n")


def test_a_service_that_does_not_answer(cli: Cli) -> None:
    result = cli("submit", "file://source/a.txt", "--url", "http://127.0.0.1:9")
    assert result.code == 4
    assert result.err.count("\n") == 1


def test_a_queue_in_memory_can_only_be_asked_over_http(cli: Cli) -> None:
    Path("memory.yaml").write_text("queues: [{name: events, url: memory://events}]\n")
    result = cli("submit", "file://source/a.txt", "--config", "memory.yaml")
    assert result.code == 2
    assert "--url" in result.err


def test_events_on_either_side_of_a_failure_are_reported(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says how many were taken, and the JSON which."""
    monkeypatch.setattr(
        sys.modules["skyferry.cli.commands.service.submit"], "QUEUED", 2
    )  # its function has the same name
    send, sent = SqliteQueue.send, list[Outgoing]()

    async def failing(self: SqliteQueue, messages: Sequence[Outgoing]) -> list[str]:
        if sent:
            raise QueueError("database or disk is full", where="queue.db")
        sent.extend(messages)
        return await send(self, messages)

    monkeypatch.setattr(SqliteQueue, "send", failing)
    lines = b"\n".join(
        orjson.dumps(EVENT | {"eventId": str(UUID(int=n)), "source": SOURCE | {"key": f"{n}"}}) for n in range(5)
    )
    result = cli("submit", "--file", "-", "--json", stdin=lines)
    assert result.code == 4
    assert "2 of 5 events were submitted before" in result.err
    assert [event["event_id"] for event in result.json()["events"]] == [str(UUID(int=n)) for n in range(2)]


def test_a_bad_element_of_an_array_is_named(cli: Cli) -> None:
    """By its number, for an array has no lines."""
    result = cli("submit", "--file", "-", stdin=orjson.dumps([EVENT, {"schemaVersion": "2.0.0"}, EVENT]))
    assert result.err.startswith("error: event 2: schemaVersion: ")
    assert queued() == []
