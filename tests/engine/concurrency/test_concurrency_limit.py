"""The limit of concurrent requests finds what a store can work on, stays within its bounds, and gives way to throttling.

The store here is a model in virtual time: a round trip, and a part of each request that only one can use at a time, such as the
CPU of this process or the capacity of the store.
"""

from __future__ import annotations

import heapq
import random
from dataclasses import dataclass, field
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyferry.engine.concurrency.concurrency_limit import BASE, STALE, START, ConcurrencyLimit, Lull
from skyferry.engine.concurrency.transfer_slots import TransferSlots

MOST = 1024
ALONE = 0.001  # seconds of each request that only one can use at a time


@dataclass
class MovedClock:
    """A clock that a model moves."""

    at: float = 0.0

    def time(self) -> float:
        """See `Clock`."""
        return self.at

    def monotonic(self) -> float:
        """See `Clock`."""
        return self.at

    async def sleep(self, seconds: float) -> None:
        """Nothing here sleeps."""
        raise NotImplementedError

    def move(self, seconds: float) -> None:
        """Let time pass."""
        self.at += seconds


@dataclass
class Loop:
    """Transfers that each read at one store and write at the other, as many at the same time as are admitted."""

    round_trips: list[float]  # seconds, by store
    fixed: int = 0  # transfers at the same time; 0 = the limits decide
    throttled_above: float = inf  # requests in flight at the second store
    refused: float = 0.0  # the share of its requests that it throttles whatever the load
    clock: MovedClock = field(default_factory=MovedClock)
    sizes: list[tuple[float, int]] = field(default_factory=list)  # time, places
    done: list[float] = field(default_factory=list)  # times at which transfers ended

    def __post_init__(self) -> None:
        lull = Lull()
        self.limits = {store: ConcurrencyLimit(lull, self.now) for store in ("source", "destination")}
        slots = TransferSlots(self.fixed or MOST, 4, {} if self.fixed else self.limits, self.clock)
        self.pair = slots.for_pair("source", "destination")
        self.dice, self.free_at, self.serial = random.Random(7), 0.0, 0
        self.requests: list[tuple[float, int, int, float]] = []  # when it ends, serial, store, when it began
        self.flying, self.idle = [0, 0], [0, 0]  # requests in flight, and connections without one, by store

    @property
    def now(self) -> float:
        """The virtual time."""
        return self.clock.monotonic()

    def run(self, seconds: float) -> None:
        """Run with a backlog that never ends."""
        end = self.now + seconds
        while True:
            while self.pair.has_room():
                self.pair.use(1)
                self._send(0)
            time, _, store, began = heapq.heappop(self.requests)
            if time > end:
                heapq.heappush(self.requests, (time, 0, store, began))
                return
            self.clock.move(max(0.0, time - self.now))
            self.sizes.append((self.now, self.pair.find_size()))
            self._answer(store, began)

    def finish(self) -> None:
        """Let the transfers in flight end, and begin no other."""
        while self.requests:
            time, _, store, began = heapq.heappop(self.requests)
            self.clock.move(max(0.0, time - self.now))
            self._answer(store, began)

    def rate(self, since: float) -> float:
        """Return the transfers a second since then."""
        return sum(at >= since for at in self.done) / (self.now - since)

    def size_after(self, time: float) -> list[int]:
        """Return the places from then on."""
        return [size for at, size in self.sizes if at >= time]

    def _send(self, store: int) -> None:
        self.free_at = max(self.free_at, self.now) + ALONE
        latency = self.round_trips[store] * (1 + 0.3 * self.dice.random())
        if self.idle[store]:
            self.idle[store] -= 1
        else:
            latency += self.round_trips[store]  # of a new connection
        self.serial += 1
        self.flying[store] += 1
        heapq.heappush(self.requests, (self.free_at + latency, self.serial, store, self.now))

    def _answer(self, store: int, began: float) -> None:
        limit = self.limits[("source", "destination")[store]]
        refused = store == 1 and (self.flying[1] > self.throttled_above or self.dice.random() < self.refused)
        self.flying[store] -= 1
        self.idle[store] += 1
        if refused:
            limit.record_throttle(self.now)
            self._send(1)
            return
        limit.record(store, self.now - began, self.now)
        if store == 0:
            self._send(1)
        else:
            self.pair.use(-1)
            self.done.append(self.now)


@pytest.mark.parametrize("milliseconds", [1, 20, 100, 200])
def test_it_comes_within_a_tenth_of_the_best_fixed_number(milliseconds: int) -> None:
    """At every round trip, over eight seconds with the start and the first connections."""
    round_trips = [milliseconds / 1000] * 2
    rates = []
    for fixed in (16, 64, 256, 1024, 0):
        loop = Loop(round_trips, fixed)
        loop.run(8)
        rates.append(loop.rate(0.0))
    assert rates[-1] >= 0.9 * max(rates[:-1]), rates


def test_the_slower_end_of_a_pair_counts() -> None:
    """A near source gives places to a far destination."""
    best, loop = Loop([0.001, 0.2], 512), Loop([0.001, 0.2])
    for each in (best, loop):
        each.run(20)
    assert loop.rate(10.0) >= 0.9 * best.rate(10.0)


@pytest.mark.parametrize("round_trip", [0.1, 0.2])
def test_it_grows_fourfold_with_each_latency(round_trip: float) -> None:
    """Six latencies after the start, two of which the first connections take, it has twice of what is needed."""
    loop = Loop([round_trip] * 2)
    loop.run(8 * round_trip)
    needed = 2 * round_trip / (2 * ALONE)
    assert max(loop.size_after(6 * round_trip)) >= 2 * needed


@pytest.mark.parametrize("round_trip", [0.001, 0.02])
def test_its_start_ends_where_more_requests_do_not_help(round_trip: float) -> None:
    """At a short distance, where the CPU is the bound. Each place would be another connection."""
    loop = Loop([round_trip] * 2)
    loop.run(5)
    assert max(loop.size_after(0.0)) <= 2 * loop.pair.find_size()


def test_its_start_ends_although_nothing_waits() -> None:
    """The places are enough, and show a queue: no more connections stay in use than the rate justifies."""
    limit, now = ConcurrencyLimit(Lull()), 0.0
    for latency, wanted in ((0.1, 1024), (0.5, 0)):
        before = limit.value(now)
        for _ in range(500):
            now += 0.002
            limit.wanted = wanted
            limit.record("get", latency, now)
    assert before >= 500
    assert limit.value(now) <= 2 * 0.1 / 0.002 + BASE


def test_its_start_ends_when_the_store_throttles() -> None:
    """However far away it is: it takes 20 requests at the same time."""
    loop = Loop([0.1, 0.1], throttled_above=20)
    loop.run(5)
    assert max(loop.size_after(2.0)) <= 80


def test_it_does_not_oscillate() -> None:
    """Once found, the number stays within a tenth, except in a lull."""
    loop = Loop([0.05, 0.05])
    loop.run(STALE - 1)
    settled = loop.size_after(8.0)
    assert max(settled) <= 1.1 * min(settled)


def test_a_queue_that_never_ends_does_not_raise_it() -> None:
    """The latency is measured again while the queue is drained; else each limit would justify a higher one."""
    loop = Loop([0.02, 0.02])
    loop.run(4 * STALE)
    assert max(loop.size_after(3 * STALE)) <= 1.5 * max(loop.size_after(5.0)[:1000])
    assert loop.rate(STALE) >= 0.95 / (2 * ALONE), "a lull costs next to nothing"


@pytest.mark.parametrize(("before", "after"), [(0.02, 0.2), (0.2, 0.02)])
def test_it_follows_a_round_trip_that_changes(before: float, after: float) -> None:
    """A longer one looks like a queue, until the next lull."""
    loop = Loop([before, before])
    loop.run(20)
    loop.round_trips[:] = [after, after]
    loop.run(2 * STALE)
    assert loop.rate(loop.now - 5) >= 0.9 / (2 * ALONE)


def test_it_sinks_when_the_store_throttles_and_recovers() -> None:
    """The store takes 20 requests at the same time for a while."""
    loop = Loop([0.02, 0.02])
    loop.run(5)
    before = loop.size_after(4.0)[-1]
    loop.throttled_above = 20
    loop.run(5)
    throttled = loop.size_after(8.0)
    assert max(throttled) <= 60
    assert before > 2 * max(throttled)
    loop.throttled_above = inf
    loop.run(10)
    assert loop.rate(18.0) >= 0.95 / (2 * ALONE)


def test_a_few_throttled_requests_cost_little() -> None:
    """One busy folder among healthy ones opens its own circuit; the store goes on."""
    limit = ConcurrencyLimit(Lull())
    now = 0.0
    for number in range(4000):
        now += 0.001
        limit.wanted = 64
        limit.record("get", 0.1, now)
        if number % 200 == 0:
            limit.record_throttle(now)
    assert limit.ceiling >= 50


def test_a_service_that_refuses_a_few_requests_at_random_is_not_starved() -> None:
    """One in sixteen, however few are sent."""
    loop = Loop([0.02, 0.02], refused=1 / 16)
    loop.run(15)
    assert loop.rate(10.0) >= 0.9 / (2 * ALONE)


def test_it_does_not_grow_without_work() -> None:
    """A rate without a limit says nothing about the capacity of the store."""
    limit = ConcurrencyLimit(Lull())
    for number in range(10_000):
        limit.record("get", 0.01, number / 10)
    assert limit.value(1000.0) == START


def test_a_pause_does_not_lower_it() -> None:
    """The first round after an hour would have a rate of almost nothing."""
    loop = Loop([0.1, 0.1])
    loop.run(5)
    before = loop.pair.find_size()
    loop.finish()
    loop.clock.move(3600.0)
    loop.run(0.5)
    assert loop.pair.find_size() >= 0.9 * before


RECORDS = st.tuples(
    st.sampled_from(["get", "put", "throttle"]), st.floats(0, 100), st.floats(0, 30), st.booleans()
)  # what ended, its duration, the time since the last, more waited


@given(st.lists(RECORDS, max_size=200), st.integers(1, 2000))
def test_it_stays_within_its_bounds_whatever_happens(records: list[tuple[str, float, float, bool]], most: int) -> None:
    """At least one transfer, so that it goes on, and never more than the configured most."""
    clock, lull = MovedClock(), Lull()
    limits = {store: ConcurrencyLimit(lull, clock.monotonic()) for store in ("a", "b")}
    pair = TransferSlots(most, 4, limits, clock).for_pair("a", "b")
    for number, (kind, duration, pause, wanted) in enumerate(records):
        clock.move(pause)
        limit = limits["ab"[number % 2]]
        limit.wanted = max(limit.wanted, wanted * pair.find_size())
        if kind == "throttle":
            limit.record_throttle(clock.monotonic())
        else:
            limit.record(kind, duration, clock.monotonic())
        assert 1 <= pair.find_size() <= most
        assert limit.ceiling >= 1


def test_it_begins_with_as_many_as_was_fixed_before() -> None:
    """64 transfers of a pair."""
    assert 2 * START == 64 == 2 * BASE
