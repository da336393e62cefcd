"""The protections of a store and the order in which they are wrapped around it."""

from __future__ import annotations

import random
from dataclasses import field

from skyferry.engine.concurrency.concurrency_limit import ConcurrencyLimit
from skyferry.engine.resilience.circuit_breaker import Breaker, CircuitBreakingStore
from skyferry.engine.resilience.instrumented import InstrumentedStore
from skyferry.engine.resilience.rate_limit import RateLimitedStore, RateLimits
from skyferry.engine.resilience.retrying import RequestPolicy, RetryingStore
from skyferry.engine.resilience.timeouts import PendingRequests, TimeoutStore
from skyferry.engine.resilience.whole_reads import WholeReadsStore
from skyferry.frozen import dataclass
from skyferry.ports import Clock, ObjectStore, Observer


@dataclass(frozen=True, slots=True)
class Protection:
    """The state and the limits of the requests to one store. The service reads them too."""

    breaker: Breaker
    clock: Clock
    observer: Observer
    random: random.Random
    policy: RequestPolicy = field(default_factory=RequestPolicy)
    limits: RateLimits | None = None  # None: no rate limit
    limit: ConcurrencyLimit | None = None  # learns from the requests; None: their number is fixed
    pending: PendingRequests = field(default_factory=PendingRequests)


def protect_store(store: ObjectStore, p: Protection) -> RetryingStore:
    """Wrap a store, from the inside to the outside, so that each layer sees what it is about."""
    store = WholeReadsStore(store)  # a short body counts as a failed request for all other layers
    store = TimeoutStore(store, p.clock, p.policy.timeout, p.pending)
    store = InstrumentedStore(store, p.clock, p.observer, p.limit)  # measures the request alone, timeouts included
    if p.limits is not None:  # outside of the time limit: waiting for the rate limit is not the store's delay
        store = RateLimitedStore(store, p.limits, p.observer)
    store = CircuitBreakingStore(store, p.breaker, p.observer)  # an open breaker refuses before any such wait
    return RetryingStore(store, p.breaker, p.clock, p.observer, p.random, p.policy)  # every try passes all layers
