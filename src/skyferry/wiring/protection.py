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
from skyferry.engine.resilience.shared.breaker import FleetBreaker
from skyferry.engine.resilience.shared.limits import FleetLimits
from skyferry.engine.resilience.shared.rates import FleetRateLimiter
from skyferry.observe import Fanout
from skyferry.ports import Clock, Ledger, ObjectStore, Observer
from skyferry.retry import Backoff
from skyferry.wiring.identities import identify_stores

if TYPE_CHECKING:
    from skyferry.engine.context import EngineContext
    from skyferry.wiring.opener import Opener

EACH = 128 * 2**10  # bytes of memory of a transfer with its two connections, with TLS
FILES = 4  # open files for each transfer: two connections, and as many for everything else
SPARE = 16  # connections for listings and housekeeping


def build_breaker(settings: Settings, clock: Clock) -> Breaker:
    """Build the circuit breaker of one store."""
    return Breaker(_breaker_policy(settings), clock)


def build_breakers(
    settings: Settings, stores: Iterable[str], clock: Clock, shared: FleetLimits | None
) -> dict[str, Breaker]:
    """Build the circuit breakers, by store. With `shared`, those of stores with `shared_limits` are the fleet's."""
    if shared is None:
        return {store: build_breaker(settings, clock) for store in stores}
    names, policy = name_shared(settings), _breaker_policy(settings)
    of_fleet = {s: FleetBreaker(names[s], policy, clock, shared.ask) for s in stores if s in names}
    shared.share_breakers(of_fleet)
    return {store: of_fleet.get(store) or build_breaker(settings, clock) for store in stores}


def build_shared(settings: Settings, ledger: Ledger, clock: Clock, observer: Observer) -> FleetLimits | None:
    """Build the limits that the workers of the ledger share; None if no store has `shared_limits`."""
    return FleetLimits(ledger, clock, observer) if name_shared(settings) else None


def name_shared(settings: Settings) -> dict[str, str]:
    """Return the name in the ledger of each store with `shared_limits`: what it is, whatever the configuration calls it."""
    identities = identify_stores(settings)
    return {
        name: identities[name].encode("utf-8", "backslashreplace").decode()
        for name, store in settings.stores.items()
        if store.shared_limits
    }


def _breaker_policy(settings: Settings) -> BreakerPolicy:
    b = settings.breaker
    return BreakerPolicy(b.failures, b.cooldown, b.max_cooldown, b.probes)


def _build_rates(settings: Settings, store: str, clock: Clock, shared: FleetLimits | None) -> RateLimits | None:
    """Build the rate limits of a store; None if it has none."""
    own = settings.stores[store]
    rates = {"requests": own.requests_per_second, "bytes": float(own.bytes_per_second)}
    if not any(rates.values()):
        return None
    name = name_shared(settings).get(store) if shared else None
    if shared is None or name is None:
        return RateLimits(*(RateLimiter(rate, clock) for rate in rates.values()))
    return RateLimits(*(FleetRateLimiter(f"{kind} {name}", rate, shared, clock) for kind, rate in rates.items()))


def build_protection(
    settings: Settings,
    store: str,
    breaker: Breaker,
    observer: Observer,
    clock: Clock,
    limit: ConcurrencyLimit | None = None,
    shared: FleetLimits | None = None,
) -> Protection:
    """Build the protection of the store with this name."""
    retry = settings.retry
    backoff = Backoff(retry.request_initial_delay, min(retry.max_delay, 5.0))
    return Protection(
        breaker=breaker,
        limit=limit,
        clock=clock,
        observer=observer,
        random=random.SystemRandom(),
        policy=RequestPolicy(settings.limits.request_timeout, retry.request_tries, backoff),
        limits=_build_rates(settings, store, clock, shared),
    )


def build_protections(settings: Settings, context: EngineContext, shared: FleetLimits | None) -> dict[str, Protection]:
    """Build the protections of all stores that have a breaker, by store."""
    return {
        store: build_protection(
            settings, store, breaker, context.observer, context.clock, context.limits.get(store), shared
        )
        for store, breaker in context.breakers.items()
    }


def find_most_transfers(limits: LimitSettings) -> int:
    """Return the most small transfers at the same time, within memory and open files if their number adapts."""
    if not limits.adaptive:
        return limits.transfers
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = limits.transfers if soft == resource.RLIM_INFINITY else soft // FILES
    return max(1, min(limits.transfers, files, limits.memory // EACH))


def find_connections(settings: Settings, store: str) -> int:
    """Return the number of connections to a store that all transfers together can use."""
    limits = settings.limits
    pairs = {
        (route.source, route.destination) for route in settings.routes if store in (route.source, route.destination)
    }
    large = max(1, len(pairs)) * limits.large_transfers
    return find_most_transfers(limits) + large * limits.part_concurrency + SPARE


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
