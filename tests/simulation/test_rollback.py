"""A ledger that loses its last second, although it had confirmed it.

Unchanged: no old version wins, no bytes are wrong, nothing is missing at the destination, and a claim that was lost settles
nothing. No transfer stays unsettled: the recovery of lost messages processes it again. Weaker: a transfer whose settlement was
lost may be done again. A dead letter may be lost, and if its message is moved back from the sink, its next death is not published.
"""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextvars import Context
from dataclasses import replace
from typing import Any

import pytest
from tests.simulation.planted import deletes_without_a_look
from tests.simulation.test_simulation import Trace

from skyferry.engine.consume.worker import Worker
from skyferry.errors import MessageLost
from skyferry.ports import Clock, Dead, Ledger, Settlement
from skyferry.testing.simulation.ledgers import MemoryEngine
from skyferry.testing.simulation.plan import LONG_POLL, Plan, plan_for
from skyferry.testing.simulation.rules import Rules
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


class LostRedrives(MemoryEngine):
    """A ledger that loses its last second between the settlement of a recovery and its redrive, once in each world."""

    rules: Rules
    lost = False

    def open(self, owner: str) -> Ledger:
        opened = super().open(owner)
        ledger: Any = opened  # of which a method is replaced
        settle = ledger.settle

        async def settle_and_lose(settlements: Sequence[Settlement]) -> list[bool]:
            recorded: list[bool] = await settle(settlements)
            if not self.lost and any(recorded) and is_recovery(settlements):
                self.lost = True
                asyncio.get_running_loop().create_task(self._lose(), context=Context())
                await self._clock.sleep(0.01)  # the loss begins
            return recorded

        ledger.settle = settle_and_lose
        return opened

    async def _lose(self) -> None:
        with self.rules.forget_claims():
            await self.lose_second(self.rules.forgotten)


def is_recovery(settlements: Sequence[Settlement]) -> bool:
    deaths = [each.outcome for each in settlements if isinstance(each.outcome, Dead)]
    return any(death.failure.kind == MessageLost.kind for death in deaths)


def test_a_letter_whose_redrive_the_ledger_forgets_is_redriven_again() -> None:
    """By the worker that redrove it: it may have the role for as long as it runs."""
    broken, lost = {}, 0
    for seed in range(SEEDS // 4):
        engines = list[LostRedrives]()

        def make(clock: Clock, engines: list[LostRedrives] = engines) -> LostRedrives:
            engines.append(LostRedrives(clock))
            return engines[0]

        plan = replace(plan_for(seed), workers=1, crashes=0, losses=2, poll=LONG_POLL)
        world = Simulation(seed, plan, engine=make)
        engines[0].rules = world._rules
        if found := world.run():
            broken[seed] = found
        lost += engines[0].lost
    assert not broken
    assert lost > SEEDS // 8


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
