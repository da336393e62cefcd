"""Objects that a route skipped after a look, and accepts once its settings have changed."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from skyferry.config.settings import Settings
from skyferry.model import Change, ObjectEvent, ObjectRef, Provider, transfer_id
from skyferry.records import Record
from skyferry.routing.routes import Routes
from skyferry.wiring import build_service

PATIENCE = 30.0  # seconds
DAY = 86_400.0  # seconds


class Skips:
    """An observer that collects the reasons of skipped transfers."""

    def __init__(self) -> None:
        self.reasons: list[str] = []

    def on(self, record: Record) -> None:
        """See `Observer`."""
        if record.event == "transfer.skipped":
            self.reasons.append(record.reason)


def configured(workspace: Path, route: dict[str, Any]) -> Settings:
    stores = {"in": {"url": "file://source", "watch": True}, "out": {"url": "file://destination"}}
    routes = [{"name": "r", "from": "in", "to": "out", **route}]
    queues = [{"name": "q", "url": "memory://q"}]
    return Settings.model_validate({"workspace": workspace, "stores": stores, "routes": routes, "queues": queues})


async def run(workspace: Path, route: dict[str, Any]) -> list[str]:
    """Run until idle. Return the reasons of skipped transfers."""
    skips = Skips()
    async with build_service(configured(workspace, route), skips) as service, asyncio.timeout(PATIENCE):
        await service.run(until_idle=True)
    return skips.reasons


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"filter": {"min_size": 100}}, {}),
        ({"filter": {"min_size": 100}}, {"filter": {"min_size": 1}}),
        ({"filter": {"max_size": 0}}, {"filter": {"max_size": 100}}),
        ({"filter": {"max_age": "1d"}}, {"filter": {"max_age": "9d"}}),
    ],
    ids=["no filter", "smaller", "larger", "older"],
)
async def test_what_a_filter_refused_is_copied_once_it_is_wider(
    tmp_path: Path, before: dict[str, Any], after: dict[str, Any]
) -> None:
    """It is looked at once for each configuration: the ledger knows the answer at the second start."""
    (tmp_path / "source").mkdir()
    (tmp_path / "destination").mkdir()
    (tmp_path / "source" / "x").write_text("x")
    written = (tmp_path / "source" / "x").stat().st_mtime - 2 * DAY
    os.utime(tmp_path / "source" / "x", (written, written))
    assert await run(tmp_path, before) == ["filtered"]
    assert await run(tmp_path, before) == []
    assert not (tmp_path / "destination" / "x").exists()
    assert await run(tmp_path, after) == []
    assert (tmp_path / "destination" / "x").read_text() == "x"


def test_a_route_without_such_limits_keeps_its_transfer_ids(tmp_path: Path) -> None:
    """Also when its other settings change: what waits for a retry stays the same transfer."""
    event = ObjectEvent("e", Change.CREATED, ObjectRef(Provider.FILE, "source", "x"), 0.0)

    def named(**route: Any) -> str:
        (transfer,) = Routes(configured(tmp_path, route)).match(event)
        return transfer.id

    plain = named()
    assert plain == transfer_id("r", event, "out", "x")
    assert named(priority="high", deletes="propagate", filter={"prefix": "x"}) == plain
    assert named(allow_loopback=True) != plain
    assert named(folder_markers="skip") != plain
