"""The engine, unmodified, in a thousand simulated worlds; and the proof that those worlds find bugs."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from tests.simulation.planted import BUGS

from skyferry.engine.consume.worker import Worker
from skyferry.engine.dead_letters.lost_messages import LOST, LostMessageRecovery
from skyferry.model import Claim, State
from skyferry.ports import Filter, Settlement
from skyferry.records import Record
from skyferry.testing.simulation.plan import LONG_POLL, plan_for
from skyferry.testing.simulation.world import Simulation

SEEDS = 1000
ENOUGH = 400  # worlds in which a planted bug must show itself


def breaches(seed: int) -> tuple[int, list[str]]:
    return seed, Simulation(seed, plan_for(seed)).run()


def test_the_six_rules_hold_in_a_thousand_worlds() -> None:
    """Crashes, freezes, duplicates, shuffled and late events, lost leases, acks, messages, corrupt reads, outages."""
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        broken = {seed: found for seed, found in pool.map(breaches, range(SEEDS), chunksize=50) if found}
    assert not broken, f"replay with Simulation(seed, plan_for(seed)): {broken}"


class Trace:
    """Remembers every record."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    def on(self, record: Record) -> None:
        self.records.append(record)

    def has(self, event: str) -> bool:
        """Return True if there was such an event."""
        return any(record.event == event for record in self.records)


@pytest.mark.parametrize("seed", range(5))
def test_a_seed_replays_exactly(seed: int) -> None:
    """Two runs of one seed take the very same steps."""
    first, second = Trace(), Trace()
    for trace in (first, second):
        Simulation(seed, plan_for(seed), trace).run()
    assert len(first.records) > 50
    assert first.records == second.records


async def never_look(recovery: LostMessageRecovery) -> int:
    """A recovery that finds nothing."""
    return 0


async def claim_only(recovery: LostMessageRecovery) -> int:
    """A recovery that claims a transfer and leaves no letter."""
    ledger = recovery._context.ledger
    page = await ledger.list_transfers(Filter(state=State.CLAIMED, idle=LOST))
    await ledger.claim([row.transfer for row in page.items])
    return 0


async def bury_only(recovery: LostMessageRecovery) -> int:
    """A recovery that leaves a dead letter and does not redrive it."""
    ledger = recovery._context.ledger
    page = await ledger.list_transfers(Filter(state=State.CLAIMED, idle=LOST))
    claims = [
        answer for answer in await ledger.claim([row.transfer for row in page.items]) if isinstance(answer, Claim)
    ]
    await ledger.settle([Settlement(claim, recovery._make_letter(claim), last=False) for claim in claims])
    return 0


@pytest.mark.parametrize("bug", [never_look, claim_only, bury_only], ids=lambda bug: bug.__name__)
def test_a_bug_planted_into_the_recovery_is_found(monkeypatch: pytest.MonkeyPatch, bug: Any) -> None:
    """A transfer whose message is lost stays as it is, in one of the first worlds."""
    monkeypatch.setattr(LostMessageRecovery, "recover_page", bug)
    for seed in range(ENOUGH):
        if Simulation(seed, replace(plan_for(seed), losses=2, poll=LONG_POLL)).run():
            return
    pytest.fail(f"{bug.__doc__} went unnoticed in {ENOUGH} worlds")


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.__name__)
def test_a_planted_bug_is_found(bug: Callable[[Worker], None]) -> None:
    """Each of these mistakes breaks a rule in one of the first worlds."""
    for seed in range(ENOUGH):
        if Simulation(seed, plan_for(seed, bug)).run():
            return
    pytest.fail(f"{bug.__doc__} went unnoticed in {ENOUGH} worlds")
