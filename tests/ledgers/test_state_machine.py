"""The memory and the SQLite ledger answer the same to any sequence of operations of two processes."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import replace
from operator import methodcaller
from pathlib import Path
from typing import Any
from unittest.mock import patch

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from skyferry.ledgers.memory.ledger import MemoryLedger
from skyferry.ledgers.memory.state import MemoryState
from skyferry.ledgers.sqlite import batch
from skyferry.ledgers.sqlite.ledger import SqliteLedger
from skyferry.model import Claim, Position, Progress, State
from skyferry.ports import DeadLetter, Filter, Ledger, Outcome, Purpose, Released, Retry, Settlement, Skipped
from skyferry.testing.clock import ManualClock
from skyferry.testing.ledger.harness import dead, done, failure, transfer
from skyferry.testing.ledger.uploads import make_progress

OWNERS = ("one", "two")
TRANSFERS = [
    transfer(f"{key}{number}", key, source_key, route)
    for key, source_key, route in (("a/1", "", "r"), ("a/2", "src", "r"), ("b", "", "s"))
    for number in range(3)
]
BURIED = [DeadLetter(f"letter-{n}", 1_700_000_000.0 + n, "q", "bad", "m", "", b"\0", ()) for n in range(2)]
POSITIONS = st.lists(st.builds(Position, st.sampled_from(["x", "time"]), st.sampled_from("123")), max_size=2)
WHERE = st.just(Filter()) | st.builds(  # everything, half of the time
    Filter,
    state=st.sampled_from([None, None, *State]),
    route=st.sampled_from(["", "", "r"]),
    key_prefix=st.sampled_from(["", "", "a/", "a/2", "b"]),
    source_key=st.sampled_from(["", "", "src", "b"]),
    reason=st.sampled_from(["", "", "throttled", "bad"]),
    since=st.sampled_from([None, None, 1_700_000_010.0]),
    until=st.sampled_from([None, None, 1_700_000_050.0]),
    idle=st.sampled_from([0.0, 0.0, 8.0]),
)
IDS = st.none() | st.none() | st.lists(st.sampled_from([t.id for t in TRANSFERS] + ["letter-0"]), max_size=3)


async def uploads(ledger: Ledger) -> list[Progress]:
    """All that are open; of the same moment, in any order."""
    found = [each async for each in ledger.list_uploads()]
    return sorted(found, key=lambda p: (-p.age, p.upload.key, p.upload.id))


class LedgersAgree(RuleBasedStateMachine):
    """One step on each, one answer."""

    def __init__(self) -> None:
        super().__init__()
        self.one_by_one = patch.object(batch, "BLOCK", 1)  # or the fences of two processes are from two blocks
        self.one_by_one.start()
        self.loop = asyncio.new_event_loop()
        self.folder = Path(tempfile.mkdtemp())
        self.clock = ManualClock()
        self.state = MemoryState()
        self.ledgers = {owner: self._open(owner) for owner in OWNERS}
        self.claims: list[tuple[str, Claim]] = []
        self.taken: list[DeadLetter] = []  # that were redriven
        self.found: list[DeadLetter] = []  # taken for publication, and reported later

    def _open(self, owner: str) -> tuple[Ledger, Ledger]:
        memory = MemoryLedger(owner, self.clock, 30.0, self.state)
        return memory, SqliteLedger(self.folder / "ledger.db", owner, self.clock, 30.0)

    def both(self, owner: str, call: Callable[[Ledger], Awaitable[Any]]) -> Any:
        """The answer of both; they MUST be equal."""

        async def run() -> tuple[Any, Any]:
            memory, sqlite = self.ledgers[owner]
            return await call(memory), await call(sqlite)

        expected, found = self.loop.run_until_complete(run())
        assert found == expected
        return expected

    @rule(owner=st.sampled_from(OWNERS), chosen=st.lists(st.sampled_from(TRANSFERS), min_size=1, max_size=4))
    def claim(self, owner: str, chosen: list[Any]) -> None:
        answers = self.both(owner, lambda ledger: ledger.claim(chosen))
        self.claims += [(owner, answer) for answer in answers if isinstance(answer, Claim)]

    @rule(data=st.data(), last=st.booleans())
    def settle(self, data: st.DataObject, last: bool) -> None:
        if self.claims:
            chosen = data.draw(st.lists(st.sampled_from(self.claims[-6:]), min_size=1, max_size=3))
            owner = chosen[0][0]
            closed = tuple(data.draw(st.lists(st.sampled_from("ab"), max_size=2)))
            batch = [Settlement(c, self._outcome(data, c), last, closed) for holder, c in chosen if holder == owner]
            self.both(owner, lambda ledger: ledger.settle(batch))

    def _outcome(self, data: st.DataObject, held: Claim) -> Outcome:
        delay = data.draw(st.sampled_from([0.0, 7.0]))
        positions = data.draw(POSITIONS)
        outcomes: tuple[Outcome, ...] = (
            done(held, *positions),
            done(held, *positions, deleted=True),
            Skipped("filtered", tuple(positions)),
            Retry(delay, failure(held.attempt, counts_as_attempt=data.draw(st.booleans()))),
            dead("bad", self.clock.time()),
            dead("throttled", self.clock.time()),
            Released(delay),
        )
        return data.draw(st.sampled_from(outcomes))

    @rule(data=st.data())
    def renew(self, data: st.DataObject) -> None:
        if self.claims:
            owner, held = data.draw(st.sampled_from(self.claims[-6:]))
            self.both(owner, lambda ledger: ledger.renew([held]))

    @rule(data=st.data(), name=st.sampled_from("ab"), numbers=st.lists(st.integers(1, 3), max_size=2))
    def save(self, data: st.DataObject, name: str, numbers: list[int]) -> None:
        if self.claims:
            owner, held = data.draw(st.sampled_from(self.claims[-6:]))
            what = make_progress(held, *dict.fromkeys(numbers), name=name)
            self.both(owner, lambda ledger: ledger.save_progress([(held, what)]))

    @rule(name=st.sampled_from("ab"))
    def close_uploads(self, name: str) -> None:
        self.both("one", lambda ledger: ledger.close_uploads("to", [name]))

    @rule(seconds=st.sampled_from([0.5, 8.0, 31.0]))
    def pass_time(self, seconds: float) -> None:
        self.loop.run_until_complete(self.clock.advance(seconds))

    @rule(owner=st.sampled_from(OWNERS))
    def restart(self, owner: str) -> None:
        async def close() -> None:
            for ledger in self.ledgers[owner]:
                await ledger.close()

        self.loop.run_until_complete(close())
        self.ledgers[owner] = self._open(owner)

    @rule(letters=st.lists(st.sampled_from(BURIED), max_size=2))
    def bury(self, letters: list[DeadLetter]) -> None:
        now = self.clock.time()
        self.both("one", lambda ledger: ledger.add_dead_letters([replace(letter, at=now) for letter in letters]))

    @rule(where=WHERE, ids=IDS)
    def redrive(self, where: Filter, ids: list[str] | None) -> None:
        self.both("one", lambda ledger: ledger.redrive(where, ids))

    @rule(where=WHERE, ids=IDS)
    def discard(self, where: Filter, ids: list[str] | None) -> None:
        self.both("two", lambda ledger: ledger.discard(where, ids))

    @rule(limit=st.integers(1, 3))
    def take(self, limit: int) -> None:
        self.taken += self.both("two", lambda ledger: ledger.take_letters(Purpose.REDRIVE, limit, 10.0))

    @rule(count=st.integers(1, 4), delay=st.sampled_from([None, 5.0]))
    def finish(self, count: int, delay: float | None) -> None:
        self._end_lease("two", Purpose.REDRIVE, self.taken[-count:], delay)

    def _end_lease(self, owner: str, purpose: Purpose, letters: list[DeadLetter], delay: float | None) -> None:
        refs = [letter.ref for letter in letters]
        if delay is None:
            self.both(owner, lambda ledger: ledger.finish_letters(purpose, refs))
        else:
            self.both(owner, lambda ledger: ledger.reschedule_letters(purpose, refs, delay))

    @rule(limit=st.integers(1, 3), delay=st.sampled_from([None, 5.0]))
    def publish(self, limit: int, delay: float | None) -> None:
        found = self.both("two", lambda ledger: ledger.take_letters(Purpose.PUBLISH, limit, 10.0))
        self._end_lease("one", Purpose.PUBLISH, self.found, delay)
        self.found = found

    @rule(age=st.sampled_from([0.0, 20.0]), limit=st.integers(1, 3))
    def prune(self, age: float, limit: int) -> None:
        self.both("one", lambda ledger: ledger.prune(age, limit))

    @rule(where=WHERE, limit=st.integers(1, 4), name=st.sampled_from(["list_transfers", "list_dead_letters"]))
    def look_through(self, where: Filter, limit: int, name: str) -> None:
        async def pages(ledger: Ledger) -> list[Any]:
            page = await getattr(ledger, name)(where, "", limit)
            found = [page.items]
            while page.cursor:  # whose text is the ledger's own business
                page = await getattr(ledger, name)(where, page.cursor, limit)
                found.append(page.items)
            return found

        self.both("two", pages)

    @invariant()
    def the_same_is_known(self) -> None:
        self.both("one", lambda ledger: ledger.count_transfers())
        self.both("one", lambda ledger: ledger.count_dead_letters())
        self.both("one", lambda ledger: ledger.count_redriven())
        self.both("two", lambda ledger: ledger.get_placements("to", ["a/1", "a/2", "b"]))
        self.both("one", uploads)
        for t in TRANSFERS:
            self.both("two", methodcaller("get_transfer", t.id))

    def teardown(self) -> None:
        self.one_by_one.stop()
        for owner in OWNERS:
            self.loop.run_until_complete(self.ledgers[owner][1].close())
        self.loop.close()
        shutil.rmtree(self.folder)


TestLedgersAgree = LedgersAgree.TestCase
TestLedgersAgree.settings = settings(
    max_examples=40, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
