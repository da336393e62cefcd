"""A breaker opens, probes and closes."""

from __future__ import annotations

from skyferry.engine.resilience.circuit_breaker import Breaker, BreakerPolicy, BreakerState
from skyferry.testing.clock import ManualClock


def state(breaker: Breaker) -> BreakerState:
    """Now."""
    return breaker.state


async def test_a_breaker_opens_probes_and_closes() -> None:
    """After failures in a row; one probe at a time; longer with every probe that fails; an answer closes it."""
    clock = ManualClock()
    breaker = Breaker(BreakerPolicy(failures=3, cooldown=5.0, max_cooldown=8.0, probes=1), clock)
    for _ in range(2):
        breaker.record_outage("write", None)
    breaker.record_answer("write")
    for _ in range(2):
        breaker.record_outage("write", None)
    assert breaker.time_to_trial() == 0, "not three in a row"
    breaker.record_outage("write", None)
    assert state(breaker) is BreakerState.OPEN
    assert breaker.time_to_trial() == 5.0
    await clock.advance(5)
    assert breaker.time_to_trial() == 0
    assert state(breaker) is BreakerState.HALF_OPEN
    assert breaker.begin_transfer()
    assert breaker.time_to_trial() > 0, "one probe is under way"
    breaker.record_outage("write", None)
    breaker.end_probe()
    assert breaker.time_to_trial() == 8.0, "twice as long, up to the longest"
    await clock.advance(8)
    assert breaker.time_to_trial() == 0
    breaker.record_answer("read")
    assert state(breaker) is BreakerState.HALF_OPEN, "a disk that is full still reads"
    breaker.record_answer("write")
    assert state(breaker) is BreakerState.CLOSED


async def test_a_breaker_heeds_the_stores_own_advice() -> None:
    """Retry-After, where it is longer than the cool-down."""
    breaker = Breaker(BreakerPolicy(failures=1, cooldown=5.0), ManualClock())
    breaker.record_outage("read", 30.0)
    assert breaker.time_open() == 30.0
