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


async def test_events_wait_for_a_service_that_is_about_to_begin() -> None:
    """A client that sends as soon as `/health` answers is not refused."""
    start, service = StartingService(), Service()
    sent = asyncio.create_task(start.submit([]))
    pushed = asyncio.create_task(start.accept("", []))
    await asyncio.sleep(0)
    assert not sent.done()
    assert not pushed.done()
    start.begin(service)
    await sent
    await pushed


async def test_events_are_refused_while_the_ledger_does_not_answer() -> None:
    start = StartingService()
    start.record_failure(LedgerError("no route to host"))
    with pytest.raises(LedgerError, match="no route to host"):
        await start.submit([b"{}"])


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
