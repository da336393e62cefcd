"""A failure is remembered until the part works again, and each change is reported."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from skyferry.engine.resilience.health import Health
from skyferry.errors import LedgerDamaged, LedgerError, QueueDamaged, QueueError
from skyferry.records import Record
from skyferry.status import HealthCheck
from skyferry.testing.clock import ManualClock


@pytest.fixture
def heard() -> list[Record]:
    return []


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def health(heard: list[Record], clock: ManualClock) -> Health:
    return Health(SimpleNamespace(on=heard.append), clock)


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


async def test_an_outage_is_one_line_at_its_begin_and_one_at_its_end(
    health: Health, heard: list[Record], clock: ManualClock
) -> None:
    """With its duration and the number of failures, though a dying server fails in several ways, in turn."""
    for _ in range(100):
        for message in ("reset", "refused", "no answer in time"):
            health.record_use("", LedgerError(message))
        await clock.advance(1)
    health.record_use("", None)
    assert [record.message for record in heard] == ["reset", "refused", "no answer in time", ""]
    assert (heard[-1].event, heard[-1].count, heard[-1].duration) == ("health.restored", 300, 100.0)


def test_messages_that_never_repeat_do_not_fill_the_log(health: Health, heard: list[Record]) -> None:
    """Damage is reported in any case."""
    for number in range(1000):
        health.record_use("", LedgerError(f"connection {number} was reset"))
    health.record_use("", LedgerDamaged("malformed"))
    assert [record.error for record in heard] == ["ledger_error"] * 5 + ["ledger_damaged"]


def test_a_check_of_before_the_end_is_out_of_date(health: Health) -> None:
    """The next one comes seconds later; until then `/ready` would say, and the log, that the ledger is down again."""
    error = LedgerError("cannot be reached", hint="start it")
    stale = HealthCheck("ledger", "ledger", "down", str(error))
    health.record_use("", error)
    assert health.amend_check(stale).state == "down"
    health.record_use("", None)
    assert health.amend_check(stale) == LEDGER
    assert health.amend_check(HealthCheck("ledger", "ledger", "down", "no answer within 5 s")).state == "down"
    health.record_use("", error)
    assert health.amend_check(stale).state == "down"
