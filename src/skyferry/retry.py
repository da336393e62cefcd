"""Decide about the next attempt: a delay, or a dead letter. Pure.

Exponential back-off with full jitter, after Marc Brooker, "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015):
delay = uniform(0, min(cap, base * 2**(attempt - 1))). A server's `Retry-After` is a lower bound.
"""

from __future__ import annotations

from dataclasses import dataclass

from skyferry.errors import Disposition, SkyferryError, Throttled


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential back-off with full jitter."""

    base: float = 1.0  # seconds, upper bound of the first delay
    cap: float = 60.0  # seconds, upper bound of every delay; only Retry-After may exceed it

    def delay(self, attempt: int, random: float, retry_after: float | None = None) -> float:
        """Return the seconds to wait after failed attempt `attempt` (from 1). `random` is uniform in [0, 1)."""
        ceiling = min(self.cap, self.base * 2.0 ** min(attempt - 1, 62))
        return max(random * ceiling, retry_after or 0.0)


@dataclass(frozen=True, slots=True)
class RetryAfter:
    """Retry after `delay` seconds."""

    delay: float
    counts_as_attempt: bool


@dataclass(frozen=True, slots=True)
class Abandon:
    """Retry no more: the transfer becomes a dead letter."""


def decide_retry(
    error: SkyferryError,
    attempt: int,
    max_retries: int,
    *,
    healthy: bool,
    backoff: Backoff,
    random: float,
    uncounted: int = 0,
) -> RetryAfter | Abandon:
    """Decide what follows when `error` ended attempt `attempt` (from 1).

    `healthy` means that the store has answered another request since the failed one began. While it has not, an outage error
    says nothing about this object: it does not count as an attempt and never makes a dead letter. The same is always true of
    throttling and of errors caused by this process alone. `uncounted` is the number of earlier failures that did not count; the
    delay grows with them too.
    """
    if error.disposition is Disposition.PERMANENT:
        return Abandon()
    counts_as_attempt = not error.outage or (healthy and not error.local and not isinstance(error, Throttled))
    if counts_as_attempt and attempt > max_retries:
        return Abandon()
    return RetryAfter(backoff.delay(attempt + uncounted, random, error.retry_after), counts_as_attempt)
