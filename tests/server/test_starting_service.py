"""The status while a service starts: it has the counts of the ledger, or says why it has none."""

from __future__ import annotations

import asyncio

import pytest
from tests.server.served import Service

from skyferry.errors import LedgerError
from skyferry.server import StartingService, starting_service


async def test_a_status_request_waits_for_a_service_that_is_about_to_begin() -> None:
    """`dead_letters` is a number from the first response on."""
    start, service = StartingService(), Service()
    asked = asyncio.create_task(start.status())
    await asyncio.sleep(0)
    assert not asked.done()
    start.begin(service)
    assert await asked == await service.status()


async def test_a_ledger_that_does_not_answer_is_reported_at_once() -> None:
    start = StartingService()
    asked = asyncio.create_task(start.status())
    start.record_failure(LedgerError("no route to host"))
    status = await asked
    assert status.dead_letters is None
    assert "no route to host" in [check.message for check in status.checks]


async def test_a_service_that_takes_long_to_begin_is_known_as_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starting_service, "START", 0.01)
    status = await StartingService().status()
    assert (status.dead_letters, status.state) == (None, "running")
    assert starting_service.NOT_OPEN in [check.message for check in status.checks]
