"""A destination that is down for longer than all retries together, and messages that are no events."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.rehearsal import Rehearsal

from skyferry.clock import SystemClock
from skyferry.ledgers.sqlite.ledger import SqliteLedger
from skyferry.model import State
from skyferry.ports import Filter

# a quarter of a second together
RETRY = {
    "initial_delay": "20ms",
    "max_delay": "100ms",
    "request_initial_delay": "5ms",
    "max_retries": 2,
}
EVENTS = 120
NO_EVENTS = [
    b"",
    b"\x00\xff\xfe not text",
    b"{" * 100_000,
    b"[" * 5_000 + b"]" * 5_000,
    b'{"schemaVersion": "2.0.0", "eventId": "x"}',
    b'{"schemaVersion": "1.0.0", "eventId": 7, "source": []}',
    b'{"Records": {"s3": null}}',
    b'{"x": "' + b"y" * 200_000 + b'"}',
    "\ud800".encode("utf-8", "surrogatepass"),
]


def config(**destination: Any) -> dict[str, Any]:
    """A route to a simulated store."""
    return {
        "stores": {
            "source": {"url": "file://source", "watch": False},
            "destination": {"url": "sim://destination", "simulator": destination},
        },
        "routes": [{"name": "all", "from": "source", "to": "destination"}],
        "retry": RETRY,
        "breaker": {"cooldown": "100ms", "max_cooldown": "300ms"},
        "server": {"listen": "127.0.0.1:0"},
        "log": {"format": "json", "level": "info"},
    }


@pytest.fixture
def rehearsal(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Rehearsal]:
    made = Rehearsal(tmp_path, config(**getattr(request, "param", {})))
    yield made
    made.log.close()


@pytest.mark.parametrize("rehearsal", [{"outages": ["0s-4s"]}], indirect=True)
async def test_an_outage_longer_than_all_retries_makes_no_dead_letter(rehearsal: Rehearsal) -> None:
    """The breaker opens, its work waits, and everything arrives after it ends."""
    keys = [f"k{n}" for n in range(EVENTS)]
    for key in keys:
        rehearsal.put(key)
    await rehearsal.send([rehearsal.event(key) for key in keys])

    assert rehearsal.start().wait(timeout=60) == 0, "no dead letter"
    assert rehearsal.same() == {}
    records = list(rehearsal.records())
    states = [r["reason"] for r in records if r["event"] == "breaker.changed"]
    assert "open" in states
    assert states[-1] == "closed"
    assert sum(r["event"] == "transfer.done" for r in records) == EVENTS


async def test_what_is_no_event_is_a_dead_letter_and_keeps_nothing_else_from_arriving(rehearsal: Rehearsal) -> None:
    """Each is kept once, with its raw body and a reason; the service neither ends nor loops."""
    rehearsal.put("good")
    await rehearsal.send([*NO_EVENTS, rehearsal.event("good"), rehearsal.event("a/../../b")])

    assert rehearsal.start().wait(timeout=60) == 3, "it ends by itself and says that there are dead letters"
    assert rehearsal.same() == {}
    ledger = SqliteLedger(rehearsal.folder / "ledger.db", "test", SystemClock())
    letters = (await ledger.list_dead_letters(Filter(), limit=100)).items
    counts = await ledger.count_transfers()
    await ledger.close()
    assert sorted(letter.body for letter in letters) == sorted(NO_EVENTS)
    assert all(letter.reason and letter.message for letter in letters)
    assert counts[State.DONE] == 1
    assert not (rehearsal.folder.parent / "b").exists()
