"""A destination folder that goes away while the service runs is an outage: its work waits, and nothing is given up."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

from skyferry.config.settings import Settings
from skyferry.ports import Filter
from skyferry.records import Record
from skyferry.wiring import build_service

PATIENCE = 20.0  # seconds


class Ear:
    """Sets an event once an attempt has failed."""

    def __init__(self) -> None:
        self.failed = asyncio.Event()
        self.done = asyncio.Event()
        self.errors: list[str] = []

    def on(self, record: Record) -> None:
        """See `Observer`."""
        if record.event in ("transfer.retry", "transfer.dead"):
            self.errors.append(record.error)
            self.failed.set()
        if record.event == "transfer.done":
            self.done.set()


async def test_objects_wait_for_a_destination_folder_that_is_away(tmp_path: Path) -> None:
    """Each became a dead letter at once."""
    stores = {"src": {"url": "file://source"}, "dst": {"url": "file://destination"}}
    routes = [{"name": "r", "from": "src", "to": "dst"}]
    queues = [{"name": "main", "url": "sqlite://main.db"}]
    settings = Settings.model_validate({"workspace": tmp_path, "stores": stores, "routes": routes, "queues": queues})
    settings = settings.model_copy(update={"breaker": settings.breaker.model_copy(update={"cooldown": 0.1})})
    source, destination = tmp_path / "source", tmp_path / "destination"
    source.mkdir()
    (source / "a").write_bytes(b"x")
    ear = Ear()
    async with build_service(settings, ear) as service:
        running = asyncio.create_task(service.run())
        try:
            async with asyncio.timeout(PATIENCE):
                await ear.failed.wait()
                destination.mkdir()
                await ear.done.wait()
            assert not (await service.ledger.list_dead_letters(Filter())).items
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running
    assert "folder_missing" in ear.errors
    assert (destination / "a").read_bytes() == b"x"
