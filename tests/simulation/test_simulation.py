"""The engine, unmodified, in a thousand simulated worlds; and the proof that those worlds find bugs."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor

import pytest
from tests.simulation.planted import BUGS

from skyferry.engine.consume.worker import Worker
from skyferry.records import Record
from skyferry.testing.simulation.plan import plan_for
from skyferry.testing.simulation.world import Simulation

SEEDS = 1000
ENOUGH = 400  # worlds in which a planted bug must show itself


def breaches(seed: int) -> tuple[int, list[str]]:
    return seed, Simulation(seed, plan_for(seed)).run()


def test_the_six_rules_hold_in_a_thousand_worlds() -> None:
    """Crashes, freezes, duplicates, shuffled and late events, lost leases and acks, corrupt reads, outages: nothing breaks."""
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        broken = {seed: found for seed, found in pool.map(breaches, range(SEEDS), chunksize=50) if found}
    assert not broken, f"replay with Simulation(seed, plan_for(seed)): {broken}"


class Trace:
    """Remembers every record."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    def on(self, record: Record) -> None:
        self.records.append(record)


@pytest.mark.parametrize("seed", range(5))
def test_a_seed_replays_exactly(seed: int) -> None:
    """Two runs of one seed take the very same steps."""
    first, second = Trace(), Trace()
    for trace in (first, second):
        Simulation(seed, plan_for(seed), trace).run()
    assert len(first.records) > 50
    assert first.records == second.records


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.__name__)
def test_a_planted_bug_is_found(bug: Callable[[Worker], None]) -> None:
    """Each of these mistakes breaks a rule in one of the first worlds."""
    for seed in range(ENOUGH):
        if Simulation(seed, plan_for(seed, bug)).run():
            return
    pytest.fail(f"{bug.__doc__} went unnoticed in {ENOUGH} worlds")
