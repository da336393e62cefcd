"""The protection of stores and the number of transfers, as the settings and the machine allow."""

from __future__ import annotations

import random
import resource
from collections.abc import Iterable
from typing import TYPE_CHECKING

from skyferry.config.settings import LimitSettings, Settings
from skyferry.engine.concurrency.concurrency_limit import ConcurrencyLimit, Lull
from skyferry.engine.resilience.circuit_breaker import Breaker, BreakerPolicy
from skyferry.engine.resilience.protection import Protection, protect_store
from skyferry.engine.resilience.rate_limit import RateLimiter, RateLimits
from skyferry.engine.resilience.retrying import RequestPolicy, RetryingStore
from skyferry.observe import Fanout
from skyferry.ports import Clock, ObjectStore, Observer
from skyferry.retry import Backoff

if TYPE_CHECKING:
    from skyferry.wiring.opener import Opener

EACH = 128 * 2**10  # bytes of memory of a transfer with its two connections, with TLS
FILES = 4  # open files for each transfer: two connections, and as many for everything else
SPARE = 16  # connections for listings and housekeeping


def build_breaker(settings: Settings, clock: Clock) -> Breaker:
    """Build the circuit breaker of one store."""
    b = settings.breaker
    return Breaker(BreakerPolicy(b.failures, b.cooldown, b.max_cooldown, b.probes), clock)


def build_protection(
    settings: Settings,
    store: str,
    breaker: Breaker,
    observer: Observer,
    clock: Clock,
    limit: ConcurrencyLimit | None = None,
) -> Protection:
    """Build the protection of the store with this name."""
    own, retry = settings.stores[store], settings.retry
    requests, data = own.requests_per_second, own.bytes_per_second
    backoff = Backoff(retry.request_initial_delay, min(retry.max_delay, 5.0))
    return Protection(
        breaker=breaker,
        limit=limit,
        clock=clock,
        observer=observer,
        random=random.SystemRandom(),
        policy=RequestPolicy(settings.limits.request_timeout, retry.request_tries, backoff),
        limits=RateLimits(RateLimiter(requests, clock), RateLimiter(data, clock)) if requests or data else None,
    )


def find_most_transfers(limits: LimitSettings) -> int:
    """Return the most small transfers at the same time, within memory and open files if their number adapts."""
    if not limits.adaptive:
        return limits.transfers
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = limits.transfers if soft == resource.RLIM_INFINITY else soft // FILES
    return max(1, min(limits.transfers, files, limits.memory // EACH))


def find_connections(limits: LimitSettings) -> int:
    """Return the number of connections to one store that all transfers together can use."""
    return find_most_transfers(limits) + limits.large_transfers * limits.part_concurrency + SPARE


def build_limits(limits: LimitSettings, stores: Iterable[str], clock: Clock) -> dict[str, ConcurrencyLimit]:
    """Build the adaptive limits, by store; none if their number is fixed."""
    lull, now = Lull(), clock.monotonic()
    return {store: ConcurrencyLimit(lull, now) for store in stores} if limits.adaptive else {}


def protect_opened(opener: Opener, store: ObjectStore) -> ObjectStore:
    """Protect a store of this opener for a command, so that transient failures are retried as in a service."""
    breaker = build_breaker(opener.settings, opener.clock)
    protection = build_protection(opener.settings, store.name, breaker, Fanout(()), opener.clock)
    return protect_store(store, protection)


def wait_out_outages(store: ObjectStore, patience: float) -> ObjectStore:
    """Return the same protected store for listings and look-ups that wait out an outage of up to `patience` seconds."""
    return store.with_patience(patience) if isinstance(store, RetryingStore) else store
