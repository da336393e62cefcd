"""A failure is remembered until the part works again, and each change is reported."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from skyferry.engine.resilience.health import Health
from skyferry.errors import LedgerDamaged, LedgerError, QueueDamaged, QueueError
from skyferry.records import Record
from skyferry.status import HealthCheck


@pytest.fixture
def heard() -> list[Record]:
    return []


@pytest.fixture
def health(heard: list[Record]) -> Health:
    return Health(SimpleNamespace(on=heard.append))


LEDGER, EVENTS = HealthCheck("ledger", "ledger", "ok"), HealthCheck("queue", "events", "ok")


def seen(health: Health) -> list[str]:
    """Return the failures shown in checks that found nothing."""
    checks = [health.amend_check(check) for check in (LEDGER, EVENTS, HealthCheck("store", "events", "ok"))]
    return [check.message for check in checks if check.state == "down"]


def test_what_fails_is_a_problem_until_it_works(health: Health, heard: list[Record]) -> None:
    """It is reported at its begin and its end, however often it repeats in between."""
    health.record_use("events", None)
    for _ in range(3):
        health.record_use("", LedgerError("database or disk is full", where="ledger.db", hint="free some disk space"))
    health.record_use("events", QueueError("is locked", where="queue.db"))
    assert seen(health) == ["ledger.db: database or disk is full (free some disk space)", "queue.db: is locked"]
    health.record_use("", None)
    assert seen(health) == ["queue.db: is locked"]
    assert [(r.event, r.queue, r.error, r.message, r.hint) for r in heard] == [
        ("health.failing", "", "ledger_error", "ledger.db: database or disk is full", "free some disk space"),
        ("health.failing", "events", "queue_error", "queue.db: is locked", ""),
        ("health.restored", "", "", "", ""),
    ]


@pytest.mark.parametrize("damage", [LedgerDamaged("malformed"), QueueDamaged("malformed")], ids=lambda e: e.kind)
def test_damage_stays(health: Health, heard: list[Record], damage: LedgerDamaged | QueueDamaged) -> None:
    """The pages that are read next may be whole."""
    health.record_use("events", damage)
    health.record_use("events", None)
    health.record_use("events", LedgerError("other"))
    assert seen(health) == ["malformed"]
    assert len(heard) == 1


def test_another_failure_is_reported_too(health: Health, heard: list[Record]) -> None:
    """A disk was full, and now the file is damaged."""
    health.record_use("", LedgerError("full"))
    health.record_use("", LedgerDamaged("malformed"))
    assert [record.error for record in heard] == ["ledger_error", "ledger_damaged"]
