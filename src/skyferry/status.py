"""Status, readiness and submissions: the records that the engine, the metrics and the API share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field
from typing import Literal, get_args

from skyferry.frozen import dataclass
from skyferry.model import State
from skyferry.ports import Depth, WorkerState


@dataclass(frozen=True, slots=True)
class Submission:
    """Result of sending one event to the queue. The same event always has the same result."""

    event_id: str
    correlation_id: str
    transfer_ids: tuple[str, ...]  # one per route that takes it
    unrouted: bool = False  # no route takes it: nothing is copied


CheckedPart = Literal["worker", "ledger", "queue", "store", "work"]
Condition = Literal["ok", "degraded", "down"]
CONDITIONS: tuple[str, ...] = get_args(Condition)  # the worst last
BREAKER_STATES = ("closed", "half_open", "open")


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """The last known condition of one part of the service."""

    part: CheckedPart  # "work": waits for an operator, such as held deletes
    name: str  # of the queue or store; otherwise the part, or for "work" the kind of work
    state: Condition
    message: str = ""
    stores: tuple[str, ...] = ()  # whose work waits for it, if that is not `name`


@dataclass(frozen=True, slots=True)
class Readiness:
    """All checks and their verdict."""

    checks: tuple[HealthCheck, ...]

    @property
    def ready(self) -> bool:
        """True if worker, ledger and at least one queue are not down, so that work can be taken."""
        down = [check for check in self.checks if check.state == "down"]
        queues = [check for check in self.checks if check.part == "queue"]
        silent = bool(queues) and all(check.state == "down" for check in queues)
        return not silent and not any(check.part in ("worker", "ledger") for check in down)

    @property
    def degraded(self) -> bool:
        """True if any part is not ok."""
        return any(check.state != "ok" for check in self.checks)


@dataclass(frozen=True, slots=True)
class QueueBytes:
    """The bytes that the messages of one queue ask to copy, as one process knows them."""

    received: int  # of messages that it has received and that are not settled
    mean: float | None  # of one message; None = no message with a size was received yet

    def estimate_waiting(self, depth: Depth) -> float | None:
        """Return the bytes of messages that no worker leases: their number times the mean. None if either is unknown.

        Azure and R2 count leased messages as ready. Then those that this process has received are subtracted.
        """
        if depth.ready < 0:
            return None
        waiting = depth.ready + max(depth.delayed, 0)
        if self.mean is None and waiting:
            return None
        leased = self.received if depth.leased < 0 else 0
        return max(waiting * (self.mean or 0.0) - leased, 0.0)


@dataclass(frozen=True, slots=True)
class Status:
    """A snapshot of the service."""

    version: str
    started_at: float  # seconds since 1970
    state: Literal["running", "draining"]
    in_flight: int  # transfers in progress in this process
    queues: Mapping[str, Depth]  # by queue name; without unreachable ones
    transfers: Mapping[State, int]  # in the ledger, by state; empty if it is unreachable
    dead_letters: int | None  # to be redriven or discarded; None if the ledger is unreachable
    breakers: Mapping[str, str]  # store name -> closed, half_open, open
    routes: tuple[str, ...] = ()
    # provider://bucket, matching no configured store -> its dead letters
    unrouted: Mapping[str, int] = field(default_factory=dict)
    held_deletes: Mapping[str, int] = field(default_factory=dict)  # source's name -> deletes awaiting a decision
    limiter_waiting: Mapping[str, int] = field(
        default_factory=dict
    )  # store name -> requests waiting for its rate limit
    concurrency: Mapping[str, int] = field(
        default_factory=dict
    )  # store name -> requests that it may have in flight now; without fixed limits
    receives: Mapping[str, float] = field(
        default_factory=dict
    )  # queue name -> seconds since the last successful receive
    oldest: Mapping[str, float] | None = None  # route -> age of its oldest unsettled event in seconds; None = unknown
    checks: tuple[HealthCheck, ...] = ()
    backlog: Mapping[str, QueueBytes] = field(default_factory=dict)  # by queue name
    workers: Mapping[WorkerState, int] = field(default_factory=dict)  # of the fleet; empty if the ledger is unreachable
    roles: Mapping[str, bool] = field(default_factory=dict)  # role that this process asks for -> it has the role
    exports_ledger: bool = True  # this process exports the gauges of the ledger
    exports_queues: bool = True  # this process exports the depths of its queues
    own_oldest: Mapping[str, float] = field(default_factory=dict)  # as `oldest`, of the events in this process only
    digests: tuple[str, str] = ("", "")  # of the routes and of the queues, as in `Heartbeat`


@dataclass(frozen=True, slots=True)
class WorkerReport:
    """The state of a process that only copies, for the process that shows the whole."""

    in_flight: int = 0  # transfers
    arrivals: int = 0  # transfers so far
    idle: bool = False  # no message is being processed
    oldest: Mapping[str, float] = field(default_factory=dict)  # route -> time of its oldest unsettled event
    breakers: Mapping[str, str] = field(default_factory=dict)  # as in `Status`
    limiter_waiting: Mapping[str, int] = field(default_factory=dict)
    concurrency: Mapping[str, int] = field(default_factory=dict)
    checks: tuple[HealthCheck, ...] = ()  # of stores and queues
    backlog: Mapping[str, QueueBytes] = field(default_factory=dict)  # by queue name


def describe_unrouted(bucket: str, count: int) -> str:
    """Describe the dead letters of a bucket that matches no configured store."""
    matches = f"1 event of {bucket} matches" if count == 1 else f"{count:,} events of {bucket} match"
    return f"{matches} no configured store: kept as dead letters (unrouted_bucket)"


def merge_checks(checks: Iterable[HealthCheck]) -> list[HealthCheck]:
    """Return the worst check of each part, in the order of their first ones."""
    worst: dict[tuple[str, str], HealthCheck] = {}
    for check in checks:
        known = worst.setdefault((check.part, check.name), check)
        if CONDITIONS.index(check.state) > CONDITIONS.index(known.state):
            worst[check.part, check.name] = check
    return list(worst.values())


def merge_breakers(states: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """Return the most open state of each store's breakers."""
    found: dict[str, str] = {}
    for each in states:
        for store, state in each.items():
            found[store] = max(found.get(store, state), state, key=BREAKER_STATES.index)
    return found


def merge_backlogs(backlogs: Sequence[Mapping[str, QueueBytes]]) -> dict[str, QueueBytes]:
    """Return the backlog of several processes: the sum of what they have received, and the mean of their means."""
    found: dict[str, QueueBytes] = {}
    for queue in dict.fromkeys(name for backlog in backlogs for name in backlog):
        parts = [backlog[queue] for backlog in backlogs if queue in backlog]
        means = [part.mean for part in parts if part.mean is not None]
        mean = sum(means) / len(means) if means else None
        found[queue] = QueueBytes(sum(part.received for part in parts), mean)
    return found


def merge_oldest(known: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Return the earliest time by name."""
    found: dict[str, float] = {}
    for times in known:
        for name, at in times.items():
            found[name] = min(at, found.get(name, at))
    return found


def sum_counts(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Return the sums by name."""
    total: Counter[str] = Counter()
    for each in counts:
        total.update(each)
    return dict(total)
