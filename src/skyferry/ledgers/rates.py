"""The rule by which units of a shared rate follow each other. Pure. PostgreSQL and Redis have it in SQL and Lua."""

from __future__ import annotations

from skyferry.frozen import dataclass

BEHIND = 5.0  # seconds by which a clock may be behind the last reservation; by more, it was set back


@dataclass(frozen=True, slots=True)
class SharedRate:
    """The record of a rate."""

    at: float  # seconds, of the last reservation
    ahead: float  # seconds from then on until the next units may be used; negative = since when they may
    rate: float  # units a second, by which `ahead` is counted


def reserve(before: SharedRate | None, units: float, rate: float, burst: float, now: float) -> tuple[SharedRate, float]:
    """Return the record after a reservation, and the seconds until its units may be used. See `SharedRates`."""
    ahead = -burst
    if before is not None:
        if before.at - BEHIND <= now < before.at:  # the caller waited for its turn: no time may count twice
            now = before.at
        ahead = before.ahead - max(0.0, now - before.at)
        if ahead > 0:
            ahead *= before.rate / rate
    ahead = max(ahead, -burst)
    return SharedRate(now, ahead + units / rate, rate), max(0.0, ahead)
