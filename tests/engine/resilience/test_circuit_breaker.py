"""A breaker opens, probes and closes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from skyferry.engine.resilience.circuit_breaker import PROVEN, Breaker, BreakerPolicy, BreakerState
from skyferry.testing.clock import ManualClock

PROVING = {side: [by for by, proven in PROVEN.items() if side in proven] for side in PROVEN}


class Frozen(ManualClock):
    """A clock for tests without an event loop."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


def state(breaker: Breaker) -> BreakerState:
    """Now."""
    return breaker.state


async def test_a_breaker_opens_probes_and_closes() -> None:
    """After failures in a row; one probe at a time; longer with every probe that fails; an answer closes it."""
    clock = ManualClock()
    breaker = Breaker(BreakerPolicy(failures=3, cooldown=5.0, max_cooldown=8.0, probes=1), clock)
    for key in "ab":
        breaker.record_outage("write", key, None)
    breaker.record_answer("write", "x")
    for key in "cd":
        breaker.record_outage("write", key, None)
    assert breaker.time_to_trial() == 0, "not three in a row"
    breaker.record_outage("write", "e", None)
    assert state(breaker) is BreakerState.OPEN
    assert breaker.time_to_trial() == 5.0
    await clock.advance(5)
    assert breaker.time_to_trial() == 0
    assert state(breaker) is BreakerState.HALF_OPEN
    assert breaker.begin_transfer()
    assert breaker.time_to_trial() > 0, "one probe is under way"
    breaker.record_outage("write", "f", None)
    breaker.end_probe()
    assert breaker.time_to_trial() == 8.0, "twice as long, up to the longest"
    await clock.advance(8)
    assert breaker.time_to_trial() == 0
    breaker.record_answer("read", "x")
    assert state(breaker) is BreakerState.HALF_OPEN, "a disk that is full still reads"
    breaker.record_answer("write", "x")
    assert state(breaker) is BreakerState.CLOSED


async def test_a_breaker_heeds_the_stores_own_advice() -> None:
    """Retry-After, where it is longer than the cool-down."""
    breaker = Breaker(BreakerPolicy(failures=1, cooldown=5.0), ManualClock())
    breaker.record_outage("read", "a", 30.0)
    assert breaker.time_open() == 30.0


async def test_one_object_opens_no_breaker_however_often_it_fails() -> None:
    breaker = Breaker(BreakerPolicy(failures=2), ManualClock())
    for _ in range(100):
        breaker.record_outage("read", "a", None)
    assert breaker.time_to_trial() == 0
    breaker.record_answer("look", "b")
    breaker.record_outage("read", "b", None)
    assert breaker.time_to_trial() > 0, "an answer to HEAD does not show that reads work"
    breaker.record_answer("look", "c")
    assert breaker.time_to_trial() > 0


async def test_the_same_object_again_does_not_lengthen_the_cool_down() -> None:
    clock = ManualClock()
    breaker = Breaker(BreakerPolicy(failures=1, cooldown=5.0), clock)
    breaker.record_outage("read", "a", None)
    for key, expected in ("a", 5.0), ("a", 5.0), ("b", 10.0):
        await clock.advance(60)
        assert breaker.time_to_trial() == 0
        breaker.record_outage("read", key, None)
        assert breaker.time_open() == expected


async def test_throttling_of_a_folder_refuses_only_its_objects() -> None:
    clock = ManualClock()
    breaker = Breaker(BreakerPolicy(failures=3), clock)
    assert breaker.find_troubled("hot/x") == []
    for n in range(50):
        breaker.record_throttle("write", f"hot/{n}", None)
    assert (len(breaker.find_troubled("hot/x")), breaker.find_troubled("cold/x")) == (1, [])
    assert breaker.time_to_trial() == 0
    assert (breaker.time_refused("hot/x"), breaker.time_refused("cold/x")) == (5.0, 0.0)
    assert breaker.throttled == 1
    for folder in "abc":
        breaker.record_throttle("write", f"{folder}/x", None)
    assert breaker.time_refused("cold/x") == 5.0, "many folders in a row are the store"
    assert (len(breaker.find_troubled("hot/x")), breaker.find_troubled("cold/x")) == (2, [breaker])
    breaker.record_answer("write", "hot/x")
    assert (breaker.time_refused("hot/x"), breaker.throttled) == (0.0, 0)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["answer", "outage", "wait"]), st.sampled_from(["look", "read", "write"]), st.integers(0, 9)
    )
)


@given(STEPS, st.integers(1, 5))
def test_it_opens_only_for_different_objects_and_any_success_closes_it(
    steps: list[tuple[str, str, int]], failures: int
) -> None:
    """A model that counts the objects which began to fail since the last success of a side."""
    clock = Frozen()
    breaker = Breaker(BreakerPolicy(failures=failures), clock)
    failing: dict[str, set[int]] = {side: set() for side in PROVEN}
    fresh: dict[str, set[int]] = {side: set() for side in PROVEN}
    for kind, side, key in steps:
        was_closed = state(breaker) is BreakerState.CLOSED
        if kind == "answer":
            breaker.record_answer(side, str(key))
            failing[side].discard(key)
            for proven in PROVEN[side]:
                fresh[proven] = set()
            assert state(breaker) is BreakerState.CLOSED or side not in PROVING[breaker._broken]
        elif kind == "outage":
            breaker.record_outage(side, str(key), None)
            if key not in failing[side]:
                failing[side].add(key)
                fresh[side].add(key)
            if was_closed:
                assert (state(breaker) is BreakerState.OPEN) == (len(fresh[side]) >= failures)
        else:
            clock.now += 30
            breaker.time_to_trial()
