"""Two routes that give objects one key: the newest event wins, in whatever order they are heard of."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import pytest
from tests.e2e.rehearsal import Rehearsal

CONFIG = {
    "stores": {name: {"url": f"file://{name}", "watch": False} for name in ("source", "other", "destination")},
    "routes": [{"name": end, "from": end, "to": "destination", "deletes": "propagate"} for end in ("source", "other")],
    "server": {"listen": "127.0.0.1:0"},
}


def event(bucket: str, second: int, kind: str = "created") -> bytes:
    says = {
        "schemaVersion": "1.0.0",
        "eventId": str(uuid.uuid4()),
        "correlationId": str(uuid.uuid4()),
        "eventType": kind,
        "timestamp": f"2026-11-25T10:00:0{second}Z",
        "source": {"provider": "file", "bucket": bucket, "key": "k"},
    }
    return json.dumps(says).encode()


@pytest.mark.parametrize("order", [(1, 2), (2, 1)])
async def test_the_newest_event_wins_and_a_delete_takes_only_its_own(tmp_path: Path, order: tuple[int, int]) -> None:
    """`other` speaks last; what `source` says before, and that its own is gone, changes nothing then."""
    rehearsal = Rehearsal(tmp_path, CONFIG)
    (tmp_path / "other").mkdir()
    for bucket in ("source", "other"):
        (tmp_path / bucket / "k").write_text(bucket)

    async def hears(*events: bytes) -> str:
        await rehearsal.send(list(events))
        assert rehearsal.start().wait(timeout=60) == 0
        return (tmp_path / "destination" / "k").read_text()

    for second in order:
        held = await hears(event({1: "source", 2: "other"}[second], second))
    assert held == "other"
    (tmp_path / "source" / "k").unlink()
    assert await hears(event("source", 3, "deleted")) == "other"
    (tmp_path / "source" / "k").write_text("again")
    assert await hears(event("source", 4), event("other", 2)) == "again"
    rehearsal.log.close()
    assert not any(record["event"] in ("transfer.retry", "transfer.dead") for record in rehearsal.records())
