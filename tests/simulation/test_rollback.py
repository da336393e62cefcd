"""A ledger that loses its last second, although it had confirmed it.

Unchanged: no old version wins, no bytes are wrong, nothing is missing at the destination, and a claim that was lost settles
nothing. No transfer stays unsettled: the recovery of lost messages processes it again. Weaker: a transfer whose settlement was
lost may be done again. A dead letter may be lost, and if its message is moved back from the sink, its next death is not published.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from tests.simulation.planted import deletes_without_a_look
from tests.simulation.test_simulation import Trace

from skyferry.engine.consume.worker import Worker
from skyferry.testing.simulation.plan import Plan, plan_for
from skyferry.testing.simulation.world import Simulation

SEEDS = 100
ENOUGH = 400  # worlds in which a planted bug must show itself
ROLLBACKS = 4


def make_plan(seed: int, sabotage: Callable[[Worker], None] | None = None) -> Plan:
    return replace(plan_for(seed, sabotage), rollbacks=ROLLBACKS)


def run_world(seed: int) -> tuple[int, list[str], int, int, bool]:
    trace = Trace()
    world = Simulation(seed, make_plan(seed), trace)
    found = world.run()
    lost = world._rules.forgotten
    return seed, found, len(lost.transfers), len(lost.claims), trace.has("transfer.message_lost")


def test_a_ledger_that_lost_its_last_second_lets_no_old_version_win() -> None:
    """In any world; and in many of them settlements and claims really are lost, and transfers processed again after an hour."""
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        worlds = list(pool.map(run_world, range(SEEDS), chunksize=25))
    broken = {seed: found for seed, found, *_ in worlds if found}
    assert not broken, f"replay with Simulation(seed, make_plan(seed)): {broken}"
    assert sum(bool(transfers) for _, _, transfers, _, _ in worlds) > SEEDS / 10
    assert sum(bool(claims) for _, _, _, claims, _ in worlds) > SEEDS / 10
    assert sum(recovered for *_, recovered in worlds) > SEEDS / 20


def fences_go_back(worker: Any) -> None:
    """A ledger that counts its fences again from those that it remembers."""
    ledger = worker._context.ledger._port
    claim = ledger.claim

    async def claim_again(transfers: Sequence[Any]) -> Any:
        state = ledger._state
        state.fences = max((lease.fence for lease in state.leases.values()), default=0)
        return await claim(transfers)

    ledger.claim = claim_again


@pytest.mark.parametrize("bug", [fences_go_back, deletes_without_a_look], ids=lambda bug: bug.__name__)
def test_a_planted_bug_is_found(bug: Callable[[Worker], None]) -> None:
    """Each of these mistakes breaks a rule in one of the first worlds."""
    for seed in range(ENOUGH):
        if Simulation(seed, make_plan(seed, bug)).run():
            return
    pytest.fail(f"{bug.__doc__} went unnoticed in {ENOUGH} worlds")
