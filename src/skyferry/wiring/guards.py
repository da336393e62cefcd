"""What stands between a store and who uses it, as the settings say."""

from __future__ import annotations

import random
from dataclasses import replace

from skyferry.config.settings import Settings
from skyferry.engine.resilience.admission import Breaker, BreakerPolicy, RateLimiter
from skyferry.engine.resilience.guarded import GuardedStore, Guards
from skyferry.observe import Fanout
from skyferry.ports import Clock, ObjectStore, Observer
from skyferry.retry import Backoff
from skyferry.wiring.opener import Opener


def breaker_of(settings: Settings, clock: Clock) -> Breaker:
    """One for one store."""
    b = settings.breaker
    return Breaker(BreakerPolicy(b.failures, b.cooldown, b.max_cooldown, b.probes), clock)


def guards_of(settings: Settings, store: str, breaker: Breaker, observer: Observer, clock: Clock) -> Guards:
    """For the store of that name."""
    own, retry = settings.stores[store], settings.retry
    return Guards(
        breaker=breaker,
        requests=RateLimiter(own.requests_per_second, clock),
        bytes=RateLimiter(own.bytes_per_second, clock),
        clock=clock,
        observer=observer,
        random=random.SystemRandom(),
        timeout=settings.limits.request_timeout,
        tries=retry.request_tries,
        backoff=Backoff(retry.request_initial_delay, min(retry.max_delay, 5.0)),
    )


def patient(store: ObjectStore, patience: float) -> ObjectStore:
    """The same guarded store, for looks and listings that wait out an outage of so many seconds."""
    if not isinstance(store, GuardedStore):
        return store
    return GuardedStore(store.inner, replace(store.guards, patience=patience))


def guarded(opener: Opener, store: ObjectStore) -> ObjectStore:
    """One of this opener's stores, for a command: what fails and may pass is tried again as a service would."""
    breaker = breaker_of(opener.settings, opener.clock)
    return GuardedStore(store, guards_of(opener.settings, store.name, breaker, Fanout(()), opener.clock))
