"""The service's answers about itself and to a submission: the nouns that the engine, the metrics and the API share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from skyferry.model import State
from skyferry.ports import Depth


@dataclass(frozen=True, slots=True)
class Submission:
    """One event taken into the queue. The same event always gives the same answer."""

    event_id: str
    correlation_id: str
    transfer_ids: tuple[str, ...]  # one per route that takes it
    unrouted: bool = False  # no route takes it: nothing is copied


Part = Literal["worker", "ledger", "queue", "store", "work"]
Condition = Literal["ok", "degraded", "down"]


@dataclass(frozen=True, slots=True)
class Check:
    """The condition of one part of the service, as far as it is known."""

    part: Part  # "work": something that waits for an operator, such as deletes that are held back
    name: str  # of the queue or the store; else as the part, or for "work" the kind of work
    state: Condition
    message: str = ""  # "" where there is nothing to say


@dataclass(frozen=True, slots=True)
class Readiness:
    """The checks, and the verdict on all of them."""

    checks: tuple[Check, ...]

    @property
    def ready(self) -> bool:
        """It can take work: worker and ledger are not down, and of the queues at least one is not."""
        down = [check for check in self.checks if check.state == "down"]
        queues = [check for check in self.checks if check.part == "queue"]
        silent = bool(queues) and all(check.state == "down" for check in queues)
        return not silent and not any(check.part in ("worker", "ledger") for check in down)

    @property
    def degraded(self) -> bool:
        """Some part does less than it should."""
        return any(check.state != "ok" for check in self.checks)


@dataclass(frozen=True, slots=True)
class Status:
    """How the service stands at one moment."""

    version: str
    started_at: float  # seconds since 1970
    state: Literal["running", "draining"]
    in_flight: int  # transfers being worked on here
    queues: Mapping[str, Depth]  # by queue name; without those that cannot be asked
    transfers: Mapping[State, int]  # the ledger's, by state; empty where it cannot be asked
    dead_letters: (
        int | None
    )  # waiting for an operator to redrive or discard them; None where the ledger cannot be asked
    breakers: Mapping[str, str]  # store name -> closed, half_open, open
    routes: tuple[str, ...] = ()
    unrouted: Mapping[str, int] = field(
        default_factory=dict
    )  # dead letters of buckets that no store is, by provider://bucket
    held_deletes: Mapping[str, int] = field(default_factory=dict)  # source's name -> deletes that wait for a decision
    limiter_waiting: Mapping[str, int] = field(default_factory=dict)  # store name -> requests in its rate limit's queue
    receives: Mapping[str, float] = field(default_factory=dict)  # queue name -> seconds since a receive succeeded
    oldest: Mapping[str, float] | None = None  # route -> age of its oldest unsettled event in seconds; None = not known
    checks: tuple[Check, ...] = ()


def unrouted(bucket: str, count: int) -> str:
    """What to say of the dead letters of a bucket that no store of the configuration is."""
    events = "1 event" if count == 1 else f"{count:,} events"
    return f"{events} of {bucket}, which no store of the configuration is: kept as dead letters (unrouted_bucket)"
