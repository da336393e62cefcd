"""Decide about the next attempt: a delay, or a dead letter. Pure.

Exponential back-off with full jitter, after Marc Brooker, "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015):
delay = uniform(0, min(cap, base * 2**(attempt - 1))). A server's `Retry-After` is a lower bound.
"""

from __future__ import annotations

from skyferry.errors import (
    ChecksumMismatch,
    Disposition,
    FolderMissing,
    IdentityRefused,
    QuotaExceeded,
    SkyferryError,
    Throttled,
)
from skyferry.frozen import dataclass

STORES_OWN = Throttled | QuotaExceeded | FolderMissing  # errors that concern the store, however many objects they meet
ISOLATED = 300.0  # seconds after which an object that fails while its store responds is itself the problem


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential back-off with full jitter."""

    base: float = 1.0  # seconds, upper bound of the first delay
    cap: float = 60.0  # seconds, upper bound of every delay; only Retry-After may exceed it

    def ceiling(self, attempt: int) -> float:
        """Return the upper bound of the delay after failed attempt `attempt` (from 1), in seconds."""
        return min(self.cap, self.base * 2.0 ** min(attempt - 1, 62))

    def delay(self, attempt: int, random: float, retry_after: float | None = None) -> float:
        """Return the seconds to wait after failed attempt `attempt` (from 1). `random` is uniform in [0, 1)."""
        return max(random * self.ceiling(attempt), retry_after or 0.0)


@dataclass(frozen=True, slots=True)
class RetryAfter:
    """Retry after `delay` seconds."""

    delay: float
    counts_as_attempt: bool


@dataclass(frozen=True, slots=True)
class Abandon:
    """Retry no more: the transfer becomes a dead letter."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """The answers of a store from which the cause of a failed request follows: the store, or the object."""

    served: bool  # it has served a request of the same side since the failed one began
    isolated: bool = False  # fewer different objects fail than make an outage: the breaker is closed
    responds: bool = False  # it has answered any request since the attempt began
    lasted: float = 0.0  # seconds since the first failure of this object
    sound: bool = False  # since the last corrupt read of this object, an attempt has read it as it is declared


def is_own_failure(error: SkyferryError, evidence: Evidence) -> bool:
    """Return True if the object itself has failed, False if its store has.

    An outage is judged by different objects. It does not count while the store serves none. If fewer fail than make an outage
    and the store still responds, it is the object after `ISOLATED` seconds; at once if only its credentials were refused,
    because another request has just shown that they are valid. Throttling concerns the rate, a full or missing disk every object,
    and an error of this process no store. Bytes that an earlier attempt has read as they are declared were corrupted on their way.
    """
    if isinstance(error, ChecksumMismatch):
        return not evidence.sound
    if not error.outage:
        return True
    if error.local or isinstance(error, Throttled):
        return False
    if evidence.served:
        return True
    if not (evidence.isolated and evidence.responds) or isinstance(error, STORES_OWN):
        return False
    return isinstance(error, IdentityRefused) or evidence.lasted >= ISOLATED


def decide_retry(
    error: SkyferryError,
    attempt: int,
    max_retries: int,
    evidence: Evidence,
    *,
    backoff: Backoff,
    random: float,
    uncounted: int = 0,
) -> RetryAfter | Abandon:
    """Decide what follows when `error` ended attempt `attempt` (from 1).

    A failure that is not the object's own (`is_own_failure`) does not count as an attempt and never makes a dead letter.
    `uncounted` is the number of earlier failures that did not count. The delay grows with them too. At the cap it has no
    jitter: the earlier delays have spread the objects, and an object that waits for its store need not ask more often.
    """
    if error.disposition is Disposition.PERMANENT:
        return Abandon()
    counts_as_attempt = is_own_failure(error, evidence)
    if counts_as_attempt and attempt > max_retries:
        return Abandon()
    failures = attempt + uncounted
    spread = counts_as_attempt or backoff.ceiling(failures) < backoff.cap
    return RetryAfter(backoff.delay(failures, random if spread else 1.0, error.retry_after), counts_as_attempt)
