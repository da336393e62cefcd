"""The protection of stores, as the settings define it."""

from __future__ import annotations

import random

from skyferry.config.settings import Settings
from skyferry.engine.resilience.circuit_breaker import Breaker, BreakerPolicy
from skyferry.engine.resilience.protection import Protection, protect_store
from skyferry.engine.resilience.rate_limit import RateLimiter, RateLimits
from skyferry.engine.resilience.retrying import RequestPolicy, RetryingStore
from skyferry.observe import Fanout
from skyferry.ports import Clock, ObjectStore, Observer
from skyferry.retry import Backoff
from skyferry.wiring.opener import Opener


def build_breaker(settings: Settings, clock: Clock) -> Breaker:
    """Build the circuit breaker of one store."""
    b = settings.breaker
    return Breaker(BreakerPolicy(b.failures, b.cooldown, b.max_cooldown, b.probes), clock)


def build_protection(settings: Settings, store: str, breaker: Breaker, observer: Observer, clock: Clock) -> Protection:
    """Build the protection of the store with this name."""
    own, retry = settings.stores[store], settings.retry
    requests, data = own.requests_per_second, own.bytes_per_second
    backoff = Backoff(retry.request_initial_delay, min(retry.max_delay, 5.0))
    return Protection(
        breaker=breaker,
        clock=clock,
        observer=observer,
        random=random.SystemRandom(),
        policy=RequestPolicy(settings.limits.request_timeout, retry.request_tries, backoff),
        limits=RateLimits(RateLimiter(requests, clock), RateLimiter(data, clock)) if requests or data else None,
    )


def protect_opened(opener: Opener, store: ObjectStore) -> ObjectStore:
    """Protect a store of this opener for a command, so that transient failures are retried as in a service."""
    breaker = build_breaker(opener.settings, opener.clock)
    protection = build_protection(opener.settings, store.name, breaker, Fanout(()), opener.clock)
    return protect_store(store, protection)


def wait_out_outages(store: ObjectStore, patience: float) -> ObjectStore:
    """Return the same protected store for listings and look-ups that wait out an outage of up to `patience` seconds."""
    return store.with_patience(patience) if isinstance(store, RetryingStore) else store
