"""When to try again. Pure: an error and the attempt that it ended in, and out comes a delay, or the decision to give up.

Exponential back-off with full jitter, after Marc Brooker, "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015):
delay = uniform(0, min(cap, base * 2**(attempt - 1))). A server's `Retry-After` is a lower bound.
"""

from __future__ import annotations

from dataclasses import dataclass

from skyferry.errors import Disposition, SkyferryError, Throttled


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait between tries."""

    base: float = 1.0  # seconds, before the first retry at most
    cap: float = 60.0  # seconds, never more (but for Retry-After)

    def delay(self, attempt: int, random: float, retry_after: float | None = None) -> float:
        """Seconds to wait after failed attempt `attempt` (from 1); `random` is uniform in [0, 1)."""
        ceiling = min(self.cap, self.base * 2.0 ** min(attempt - 1, 62))
        return max(random * ceiling, retry_after or 0.0)


@dataclass(frozen=True, slots=True)
class Again:
    """Try again after `delay` seconds. `burned` = False: this failure does not count as an attempt."""

    delay: float
    burned: bool


@dataclass(frozen=True, slots=True)
class GiveUp:
    """A dead letter."""


def decide(
    error: SkyferryError,
    attempt: int,
    max_retries: int,
    *,
    healthy: bool,
    backoff: Backoff,
    random: float,
    unburned: int = 0,
) -> Again | GiveUp:
    """What to do after `error` ended attempt `attempt` (from 1).

    `healthy`: the store has answered somebody since the request that failed began. While it has not, an outage error
    says nothing about this object, so it burns no attempt and never gives up. Nor does a refusal of the rate, ever, nor what
    this process alone is the cause of.
    `unburned` failures that were no attempts came before: the delay grows with them, too.
    """
    if error.disposition is Disposition.PERMANENT:
        return GiveUp()
    burned = not error.outage or (healthy and not error.local and not isinstance(error, Throttled))
    if burned and attempt > max_retries:
        return GiveUp()
    return Again(backoff.delay(attempt + unburned, random, error.retry_after), burned)
