"""What the service answers about itself and to a submission: the nouns that the engine, the metrics and the API share."""

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
    unrouted: bool = False  # no route takes it: it will be acked and counted, nothing is copied


@dataclass(frozen=True, slots=True)
class Status:
    """How the service stands at one moment."""

    version: str
    started_at: float  # seconds since 1970
    state: Literal["running", "draining"]
    in_flight: int  # transfers being worked on here
    queues: Mapping[str, Depth]  # by queue name
    transfers: Mapping[State, int]  # the ledger's, by state
    dead_letters: int  # waiting for somebody to redrive or discard them
    breakers: Mapping[str, str]  # store name -> closed, half_open, open
    routes: tuple[str, ...] = ()
    limiter_waiting: Mapping[str, int] = field(default_factory=dict)  # store name -> requests in its rate limit's queue
