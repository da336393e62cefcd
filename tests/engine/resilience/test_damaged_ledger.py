"""A service whose ledger is damaged says so, whichever part of it met the damage."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

import pytest
from tests.ledgers.sqlite.test_damage import scratch, written

from skyferry.config.load import load
from skyferry.errors import LedgerDamaged
from skyferry.records import Record
from skyferry.wiring import build_service

PATIENCE = 20.0  # seconds


class Heard:
    """Sets an event once the watcher has failed."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.failed = asyncio.Event()

    def on(self, record: Record) -> None:
        self.records.append(record)
        if record.event == "watch.failed":
            self.failed.set()


async def test_damage_that_only_the_folder_watch_meets_is_reported(tmp_path: Path) -> None:
    """By /ready, and in the log with file and hint."""
    (tmp_path / "source").mkdir()
    (tmp_path / "destination").mkdir()
    (tmp_path / "source" / "a").write_bytes(b"1")
    await written(tmp_path / "ledger.db")
    scratch(tmp_path / "ledger.db", "places_by_key")
    heard = Heard()
    async with build_service(load(None, {}, tmp_path), heard) as service:
        running = asyncio.create_task(service.run())
        try:
            async with asyncio.timeout(PATIENCE):
                await heard.failed.wait()
            readiness = await service.ready()
            assert not readiness.ready
            assert any("malformed" in check.message for check in readiness.checks if check.part == "ledger")
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running
    (failing,) = [record for record in heard.records if record.event == "health.failing"]
    assert (failing.queue, failing.error) == ("", "ledger_damaged")
    assert "ledger.db" in failing.message
    assert failing.hint


async def test_a_run_until_idle_ends_with_the_damage(tmp_path: Path) -> None:
    """It would wait for ever for what cannot be recorded."""
    for name in ("source", "destination"):
        (tmp_path / name).mkdir()
    (tmp_path / "source" / "a").write_bytes(b"1")
    await written(tmp_path / "ledger.db")
    scratch(tmp_path / "ledger.db", "places_by_key")
    async with build_service(load(None, {}, tmp_path), Heard()) as service:
        with pytest.raises(ExceptionGroup) as caught:
            async with asyncio.timeout(PATIENCE):
                await service.run(until_idle=True)
    assert caught.group_contains(LedgerDamaged, match="malformed")
