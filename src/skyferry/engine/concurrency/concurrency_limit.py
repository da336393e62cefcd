"""Find how many requests a store can work on at the same time, from their latency and from throttling. Pure.

After BBR (https://datatracker.ietf.org/doc/draft-ietf-ccwg-bbr/): without a queue, the number of requests in flight is their
rate times their latency without a queue. The limit is twice that, so that a faster store shows at once, and a constant more.
The latency without a queue is the lowest mean of a round; if every round shows a queue, a short lull drains it.

At first the limit starts, as TCP does: each answer that did not wait in a queue raises it at once. It has started when a round
shows a queue and no higher rate than those before, or when a request is throttled.

After DCTCP (RFC 8257): throttled requests lower a ceiling in proportion to their share, and each round raises it a little. So
it stays where about one request in nine is throttled, and a service that refuses fewer, whatever the load, does not lower it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from math import inf

START = 32  # requests, before anything is known
BASE = (
    32  # requests above what the rate and the latency justify: they fill batches, and cost nothing at a short distance
)
GAIN = 2.0
START_GROWTH = 3  # requests more for each answer while the limit starts, so it grows at most fourfold with each latency
START_ROUND = 0.05  # seconds, at least, that a round lasts while the limit starts: one latency, to see a queue soon
FASTER = 1.25  # a rate of this many times the highest shows that more requests help
ROUND = 0.2  # seconds, at least
LENGTHS = 1.5  # a round lasts this many times the mean latency
MEMORY = 10  # rounds whose highest rate counts
ENOUGH = 4  # requests of a kind whose mean counts
QUEUED = 1.25  # a latency of this many times the lowest shows a queue
STALE = 20.0  # seconds of queues after which the lowest latency is measured again
DRAINED = 0.6  # of the justified number during a lull
IDLE = 4  # a round of this many times its planned length had a pause
LULL = 2  # rounds: in the first the queue drains, in the second the latency is measured
RISE = 8  # a ceiling rises by this fraction of itself in each round, and by 1 at least


class Lull:
    """A short time in which no store gets more requests than are justified. All stores of a process have it together."""

    def __init__(self) -> None:
        self.begins = self.measures = self.ends = -inf  # monotonic seconds

    def begin(self, now: float, length: float) -> None:
        """Begin a lull of two rounds of this length, unless there is one."""
        if now >= self.ends:
            self.begins, self.measures, self.ends = now, now + length, now + LULL * length


class ConcurrencyLimit:
    """The limit of one store. It adapts at the end of each round, which is noticed when a request ends: it has no timer."""

    def __init__(self, lull: Lull, now: float = 0.0) -> None:
        """`now` and all times are monotonic seconds."""
        self.wanted = 0  # transfers in flight while others had to wait, in this round; 0 = the limit did not matter
        self.ceiling = inf  # of all transfers that use the store, because of throttling
        self._lull = lull
        self._justified = START / GAIN  # requests in flight without a queue
        self._rates: deque[float] = deque(maxlen=MEMORY)  # justified numbers of the last rounds
        self._lowest: dict[Hashable, float] = {}  # latency without a queue, by kind of request
        self._fresh = now  # when there was no queue
        self._base = 0
        self._window = START  # requests that may be in flight while the limit starts; 0 = it has started
        self._begin_round(now, ROUND)

    def value(self, now: float) -> int:
        """Return the number of requests that may be in flight, without the ceiling."""
        if now < self._lull.ends:
            return max(2, round(self._justified * DRAINED))
        return max(self._window, int(GAIN * self._justified) + self._base)

    def describe(self, now: float) -> int:
        """Return the number of requests that may be in flight, as people see it."""
        return max(1, int(min(self.value(now), self.ceiling)))

    def record(self, kind: Hashable, seconds: float, now: float) -> None:
        """Record an answer. Requests of one `kind` have similar latencies, such as those of one operation and size."""
        count, spent = self._seen.get(kind, _NOTHING)
        self._seen[kind] = (count + 1, spent + seconds)
        if 0 < self._window < self.wanted and self._rates and seconds < QUEUED * self._lowest.get(kind, 0.0):
            self._window += START_GROWTH
        if now >= self._ends:
            self._end_round(now)

    def record_throttle(self, now: float) -> None:
        """Record a request that the store refused because there are too many."""
        self._throttled += 1
        self._window = 0
        if now >= self._ends:
            self._end_round(now)

    def _begin_round(self, now: float, length: float) -> None:
        self._began, self._ends = now, now + length
        self._seen: dict[Hashable, tuple[int, float]] = {}  # number and seconds of requests by kind
        self._throttled = 0
        self.wanted = 0

    def _end_round(self, now: float) -> None:
        seconds, planned = now - self._began, self._ends - self._began
        count = sum(number for number, _ in self._seen.values())
        spent = sum(each for _, each in self._seen.values())
        if seconds > IDLE * planned:  # a rate would mean nothing
            self._fresh = now
        else:
            self._adapt_ceiling(count, spent / seconds)
            if count:
                self._adapt(now, seconds, spent)
        shortest, lengths = (START_ROUND, 1.0) if self._window else (ROUND, LENGTHS)
        length = max(shortest, lengths * spent / count) if count else ROUND
        if self.wanted and now - self._fresh > STALE:
            self._lull.begin(now, length)
            self._fresh = now
        self._begin_round(now, length)

    def _adapt(self, now: float, seconds: float, spent: float) -> None:
        """Adapt to the latencies of a round in which `spent` seconds were waited for answers."""
        lull = self._lull
        if lull.begins < now <= lull.ends or self._began < lull.ends < now:
            if self._began >= lull.measures:
                self._lowest.update({kind: total / number for kind, (number, total) in self._seen.items()})
                self._fresh = now
            return
        for kind, (number, total) in self._seen.items():
            mean = total / number
            lowest = self._lowest.get(kind)
            if lowest is None or (mean < lowest and number >= ENOUGH):
                self._lowest[kind] = mean
        unqueued = sum(number * self._lowest[kind] for kind, (number, _) in self._seen.items())
        rate, queued = unqueued / seconds, spent >= QUEUED * unqueued
        if not queued:
            self._fresh = now
        if self._window and queued and rate < FASTER * max(self._rates, default=0.0):
            self._window = 0  # even if nothing waits, because the CPU is the bound
            self._rates.clear()  # those of short rounds vary more, so their highest is too high
        if self.wanted:
            self._rates.append(rate)
            self._justified, self._base = max(self._rates), BASE

    def _adapt_ceiling(self, count: int, busy: float) -> None:
        """Lower the ceiling by the share of throttled requests, and raise it by a fraction. `busy`: mean requests in flight."""
        if not self._throttled and self.ceiling == inf:
            return
        share = self._throttled / (self._throttled + count) if self._throttled else 0.0
        ceiling = min(self.ceiling, max(self.wanted, GAIN * busy, 1.0)) if self._throttled else self.ceiling
        self.ceiling = max(1.0, ceiling * (1 - share) + max(1.0, ceiling / RISE))
        if self.ceiling > GAIN * (GAIN * self._justified + self._base):
            self.ceiling = inf


_NOTHING = (0, 0.0)
