"""The engine, unmodified, in simulated worlds whose ledger is a real PostgreSQL or Redis; and the proof that they find bugs.

WORLDS=1000 runs as many worlds as in memory. Each call of a ledger is one step of its world; that several processes call it
at the same moment is tested with the ledgers.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from tests.simulation.engines import PostgresWorlds, RedisWorlds
from tests.simulation.planted import ack_before_settle, poison_is_dropped
from tests.simulation.test_rollback import ROLLBACKS
from tests.simulation.test_simulation import Trace

from skyferry.engine.consume.worker import Worker
from skyferry.ledgers import rules
from skyferry.ledgers.postgres.claims.settlements import SettlementBatch
from skyferry.ledgers.redis.database import load_scripts
from skyferry.model import State
from skyferry.ports import Clock
from skyferry.testing.servers import PostgresServer, RedisServer
from skyferry.testing.simulation.ledgers import LedgerEngine
from skyferry.testing.simulation.plan import Plan, plan_for
from skyferry.testing.simulation.world import Simulation

SEEDS = int(os.environ.get("WORLDS", "100"))
ENOUGH = 100  # worlds in which a planted bug must show itself
POLL = 30.0  # seconds: fewer requests to a real server while nothing happens
Worlds = Callable[[Clock], LedgerEngine]


def make_plan(seed: int, sabotage: Callable[[Worker], None] | None = None) -> Plan:
    return replace(plan_for(seed, sabotage), poll=POLL)


@pytest.fixture(scope="module")
def postgresql(postgres_server: PostgresServer) -> Iterator[Worlds]:
    worlds = PostgresWorlds(postgres_server)
    yield worlds
    worlds.close()


@pytest.fixture(scope="module")
def redis(redis_server: RedisServer) -> Iterator[Worlds]:
    worlds = RedisWorlds(redis_server)
    yield worlds
    worlds.close()


@pytest.fixture(params=["postgresql", "redis"])
def worlds(request: pytest.FixtureRequest) -> Worlds:
    found: Worlds = request.getfixturevalue(request.param)
    return found


def test_the_six_rules_hold_on_each_engine(worlds: Worlds) -> None:
    """The same worlds as in memory: crashes, freezes, steps of the server's clock, lost leases, outages."""
    broken = {seed: found for seed in range(SEEDS) if (found := Simulation(seed, make_plan(seed), engine=worlds).run())}
    assert not broken, f"replay with Simulation(seed, make_plan(seed), engine=...): {broken}"


def make_rollback_plan(seed: int) -> Plan:
    """Plan without steps of the clock: forgotten fences return if it goes back by more than was lost (`ledger-redis.md`)."""
    return replace(make_plan(seed), rollbacks=ROLLBACKS, clock_steps=0)


def test_a_redis_that_lost_its_last_second_lets_no_old_version_win(redis: Worlds) -> None:
    """The same rules as for a ledger in memory: `test_rollback.py`. Its fences and serials are lost too."""
    broken, lost, claims = {}, 0, 0
    worlds = SEEDS // 2
    for seed in range(worlds):
        world = Simulation(seed, make_rollback_plan(seed), engine=redis)
        if found := world.run():
            broken[seed] = found
        lost += bool(world._rules.forgotten.transfers)
        claims += bool(world._rules.forgotten.claims)
    assert not broken, f"replay with Simulation(seed, make_rollback_plan(seed), engine=...): {broken}"
    assert lost > worlds / 10
    assert claims > worlds / 10


def make_loss_plan(seed: int) -> Plan:
    return replace(make_plan(seed), losses=2)


def test_a_transfer_whose_message_is_lost_is_settled(worlds: Worlds) -> None:
    """In any world the destination becomes equal to the source, and the ledger knows of no work that is left."""
    broken, recovered = {}, 0
    for seed in range(SEEDS // 4):
        trace = Trace()
        if found := Simulation(seed, make_loss_plan(seed), trace, worlds).run():
            broken[seed] = found
        recovered += trace.has("transfer.message_lost")
    assert not broken, f"replay with Simulation(seed, make_loss_plan(seed), engine=...): {broken}"
    assert recovered > SEEDS // 8


def test_a_redis_that_gives_out_a_fence_again_is_found(redis_server: RedisServer) -> None:
    """The server's time in a fence distinguishes a new claim from a forgotten one."""
    right = "math.max(last + 1, now)"
    assert any(right in script._text for script in load_scripts().values())
    worlds = RedisWorlds(redis_server, lambda text: text.replace(right, "last + 1"))
    try:
        assert any(Simulation(n, make_rollback_plan(n), engine=worlds).run() for n in range(ENOUGH))
    finally:
        worlds.close()


def test_a_seed_replays_exactly(worlds: Worlds) -> None:
    """Two runs of one seed take the very same steps, though a real server answers."""
    first, second = Trace(), Trace()
    for trace in (first, second):
        Simulation(2, make_plan(2), trace, worlds).run()
    assert len(first.records) > 50
    assert [type(record) for record in first.records] == [type(record) for record in second.records]


def find_breach(worlds: Worlds, bug: Callable[[Worker], None] | None = None) -> list[str]:
    """Return the breaches of the first world that has any."""
    return next(filter(None, (Simulation(n, make_plan(n, bug), engine=worlds).run() for n in range(ENOUGH))), [])


@pytest.mark.parametrize("bug", [ack_before_settle, poison_is_dropped], ids=lambda bug: bug.__name__)
def test_a_bug_planted_into_the_worker_is_found(worlds: Worlds, bug: Callable[[Worker], None]) -> None:
    """Each of these mistakes breaks a rule in one of the first worlds."""
    assert find_breach(worlds, bug), f"{bug.__doc__} went unnoticed in {ENOUGH} worlds"


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("if at.owner == me and at.fence == item[2] then", "if true then"),
        ("if row.state >= DONE and not (again", "if false and not (again"),
    ],
    ids=["a settlement of any fence is recorded", "a settled transfer is claimed again"],
)
def test_a_bug_planted_into_the_scripts_is_found(redis_server: RedisServer, right: str, wrong: str) -> None:
    def plant(text: str) -> str:
        return text.replace(right, wrong)

    worlds = RedisWorlds(redis_server, plant)
    try:
        assert find_breach(worlds), f"{wrong!r} went unnoticed in {ENOUGH} worlds"
    finally:
        worlds.close()


def record_any_fence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Record a settlement whatever its fence."""
    settle = SettlementBatch._settle

    def careless(batch: SettlementBatch, settlement: Any, known: Any) -> bool:
        transfer = settlement.claim.transfer
        place = known.places[transfer.store, transfer.key]
        place.owner, place.fence = batch.me, settlement.claim.fence
        return settle(batch, settlement, known)

    monkeypatch.setattr(SettlementBatch, "_settle", careless)


def claim_settled_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give a claim on a transfer that is settled."""
    refuse = rules.refuse_claim

    def careless(transfer: Any, state: State, *others: Any) -> Any:
        return refuse(transfer, State.CLAIMED if state.settled else state, *others)

    monkeypatch.setattr(rules, "refuse_claim", careless)


@pytest.mark.parametrize("bug", [record_any_fence, claim_settled_again], ids=lambda bug: bug.__name__)
def test_a_bug_planted_into_the_statements_is_found(
    postgresql: Worlds, monkeypatch: pytest.MonkeyPatch, bug: Callable[[pytest.MonkeyPatch], None]
) -> None:
    bug(monkeypatch)
    assert find_breach(postgresql), f"{bug.__doc__} went unnoticed in {ENOUGH} worlds"
