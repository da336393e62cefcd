"""The parameters of a simulated world."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import field, replace

from skyferry.engine.consume.worker import Worker
from skyferry.frozen import dataclass
from skyferry.testing.simulation.chaos import Weather

LONG_POLL = 30.0  # seconds: less work in worlds that wait for an hour until a message counts as lost


@dataclass(frozen=True, slots=True)
class Plan:
    """The parameters of a simulation."""

    workers: int = 2
    keys: int = 4
    changes: int = 14
    period: float = 20.0  # seconds over which the changes happen
    limit: float = 12 * 3600.0  # seconds after which it must be idle; steps of the clock delay the recovery
    crashes: int = 2
    freezes: int = 1
    clock_steps: int = 0  # changes of the wall clock, by an hour at most
    rollbacks: int = 0  # failures of a `ForgetfulEngine` in which it loses its last second
    losses: int = 0  # purges of the queue that remove the messages of unsettled transfers
    skew: float = 0.0  # seconds, at most, by which the wall clock of a worker differs from that of all servers
    declares: bool = True  # the source returns checksums; without them corruption on the way cannot be detected
    poll: float = 10.0  # seconds that a receive waits, and between looks for dead letters; most of the time is idle
    large: bool = False  # objects with long copies, during which workers crash and the source changes
    weather: Weather = field(default_factory=Weather)
    sabotage: Callable[[Worker], None] | None = None  # plants a bug in each worker


def plan_for(seed: int, sabotage: Callable[[Worker], None] | None = None) -> Plan:
    """Draw a plan: one to three workers, few or many faults, in a quarter an outage longer than all retries."""
    dice = random.Random(f"plan {seed}")
    start = dice.random() * 20
    large = dice.random() < 0.3
    declares = dice.random() < (0.5 if large else 0.85)
    weather = Weather(
        latency=1.0 if large else dice.choice((0.001, 0.02, 0.5)),
        stall=dice.choice((0.0, 0.002, 0.02)),
        fail=dice.choice((0.0, 0.05, 0.15)),
        corrupt=dice.choice((0.0, 0.02)) if declares else 0.0,
        outages=((start, start + 600.0),) if dice.random() < 0.25 else (),
    )
    plan = Plan(
        workers=dice.choice((1, 2, 2, 3)),
        keys=1 if large else dice.choice((1, 2, 5)),
        changes=6 if large else 14,
        crashes=5 if large else dice.choice((0, 1, 3)),
        freezes=dice.choice((0, 1, 2)),
        declares=declares,
        large=large,
        weather=weather,
        sabotage=sabotage,
        clock_steps=dice.choice((0, 0, 0, 2)),
        skew=dice.choice((0.0, 300.0)),
        poll=1.0 if dice.random() < 0.05 else 10.0,
    )
    losses = dice.choice((0, 0, 0, 0, 0, 0, 1, 2))
    return replace(plan, losses=losses, poll=LONG_POLL) if losses else plan
