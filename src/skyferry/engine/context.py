"""The context that the parts of an engine share."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import field

from skyferry.engine.concurrency.concurrency_limit import ConcurrencyLimit
from skyferry.engine.resilience.circuit_breaker import Breaker
from skyferry.engine.telemetry import Reporter
from skyferry.frozen import dataclass
from skyferry.ports import Clock, Ledger, Observer
from skyferry.routing.routes import Route


@dataclass(frozen=True, slots=True)
class EngineContext:
    """The ports and the state that the parts of one engine have in common."""

    ledger: Ledger
    routes: Mapping[str, Route]  # by name
    breakers: Mapping[str, Breaker]  # by store
    clock: Clock
    random: random.Random
    observer: Observer
    limits: Mapping[str, ConcurrencyLimit] = field(default_factory=dict)  # by store; one without a limit takes the most

    @property
    def reporter(self) -> Reporter:
        """Return a reporter for the observer."""
        return Reporter(self.observer, self.clock)
