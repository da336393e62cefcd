"""The whole service as its users run it, killed again and again while a bad simulator stands for its stores."""

from __future__ import annotations

import hashlib
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.rehearsal import Rehearsal

from skyferry.clock import SystemClock
from skyferry.ledgers.sqlite.ledger import SqliteLedger
from skyferry.model import State
from skyferry.ports import Filter

EVENTS = 10_000
OBJECTS = 7_000  # so 3,000 events are duplicates
OVERWRITTEN = 700
KILLS = 10
WRONG, POISON = 15, 5  # events that declare a wrong checksum, and messages that are no events

FAULTS = {"throttle": 0.06, "timeout": 0.06, "reset": 0.08, "timeout_after": "5ms"}  # 20 % of all calls
CONFIG = {
    "workspace": ".",
    "stores": {
        "source": {"url": "sim://source", "watch": False, "simulator": {"seed": 1, "truncate": 0.01, **FAULTS}},
        "destination": {"url": "sim://destination", "simulator": {"seed": 2, **FAULTS}},
    },
    "routes": [{"name": "all", "from": "source", "to": "destination"}],
    "retry": {"initial_delay": "50ms", "max_delay": "1s", "request_initial_delay": "5ms", "max_retries": 10},
    "breaker": {"cooldown": "100ms", "max_cooldown": "500ms"},
    "server": {"listen": "127.0.0.1:0"},
    "log": {"format": "json", "level": "info"},
}


@pytest.fixture
def rehearsal(tmp_path: Path) -> Iterator[Rehearsal]:
    made = Rehearsal(tmp_path, CONFIG)
    yield made
    made.log.close()


async def test_ten_kills_lose_nothing_and_repeat_nothing(rehearsal: Rehearsal) -> None:
    """10,000 shuffled events, 30 % duplicates, 10 % overwritten meanwhile, 20 % of calls failing, ten times kill -9."""
    r = rehearsal
    keys = [f"{i % 50:02d}/object {i}" for i in range(OBJECTS)]
    for key in keys:
        r.put(key)
    bodies = [r.event(key) for key in keys]
    bodies += r.dice.choices(bodies, k=EVENTS - OBJECTS)
    wrong = [f"wrong/{i}" for i in range(WRONG)]
    for key in wrong:
        r.put(key)
        bodies.append(r.event(key, checksumSHA256=hashlib.sha256(b"something else").hexdigest()))
    poison = [f"no event {i}".encode() for i in range(POISON)]
    r.dice.shuffle(bodies)
    await r.send([*bodies, *poison])

    overwritten = r.dice.sample(keys, OVERWRITTEN)
    for kill in range(KILLS):
        process = r.start()
        for key in overwritten[kill::KILLS]:
            r.put(key)
        await r.send([r.event(key) for key in overwritten[kill::KILLS]])
        time.sleep(0.7 + r.dice.random() * 1.5)
        process.send_signal(signal.SIGKILL)
        process.wait()
    process = r.start()
    assert process.wait(timeout=120) == 3, "it ends by itself and says that there are dead letters"

    different = r.same()
    assert {k: v for k, v in different.items() if k not in wrong} == {}
    assert set(different) == set(wrong)
    done = Counter(str(rec["transfer_id"]) for rec in r.records() if rec.get("event") == "transfer.done")
    assert [t for t, times in done.items() if times > 1] == []
    ledger = SqliteLedger(r.folder / "ledger.db", "test", SystemClock())
    try:
        letters = (await ledger.list_dead_letters(Filter(), limit=1000)).items
        assert sorted(letter.key for letter in letters if letter.route) == sorted(wrong)
        assert sorted(letter.body for letter in letters if not letter.route) == sorted(poison)
        counts = await ledger.count_transfers()
        assert counts.get(State.CLAIMED, 0) == counts.get(State.RETRY, 0) == 0
        assert counts[State.DONE] + counts.get(State.SKIPPED, 0) == OBJECTS + OVERWRITTEN
    finally:
        await ledger.close()
