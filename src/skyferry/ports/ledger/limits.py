"""Limits that all workers of a ledger share: rates of stores, and circuit breakers that are open."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from skyferry.frozen import dataclass


class SharedRates(Protocol):
    """Rates, by name. Each has one record that all workers change, so they take many units at once.

    A record MAY be lost in a failure of the engine. The rate then begins anew, with its burst.
    """

    async def reserve_units(self, name: str, units: float, rate: float, burst: float) -> float:
        """Reserve the next `units` of a rate (units a second, above 0). Return the seconds until they may be used; 0 = now.

        Reservations follow each other: one that begins at `t` keeps the next from beginning before `t + units / rate`. None
        begins more than `burst` seconds in the past, so what is not reserved in time is lost. The units may be more than the
        burst; those that follow wait the longer. Reserved units cannot be given back.

        Workers MAY ask at different rates. What is reserved counts in units: it is worked off at the rate of the last call.
        Time that passed while the clock was set back does not count, and none counts twice. Cheap: one step on one record.
        """


@dataclass(frozen=True, slots=True)
class OpenBreaker:
    """A circuit breaker that is open for all workers."""

    name: str
    opening: int  # a number that no other opening of this breaker has
    side: str  # of the store, which failed: look, read or write
    left: float  # seconds until a trial may begin, by the ledger's clock; 0 or less = now
    cooldown: float  # seconds that it began with, to be lengthened if a trial fails


class SharedBreakers(Protocol):
    """Circuit breakers that are open, by name. One that is not listed is closed.

    They MAY be lost in a failure of the engine. They are then closed, and workers open them again.
    """

    owner: str

    async def list_breakers(self) -> Sequence[OpenBreaker]:
        """Return all open breakers, by name. Cheap: every worker calls it each second."""

    async def open_breaker(self, name: str, side: str, seconds: float, cooldown: float) -> int:
        """Open a breaker, or keep it open, for `seconds` from now on. Return the number of this opening.

        It never becomes shorter. A trial under way has failed.
        """

    async def take_trial(self, name: str, opening: int, lease: float) -> bool:
        """Return True if this worker may try the store for `lease` seconds; it calls again to continue.

        One worker at a time may. False: the breaker is closed, has been opened anew, is not due, or another worker tries.
        The worker counts the lease by its own monotonic clock from before it called. If the clock was set back to long before
        the opening, the trial is due at once.
        """

    async def close_breaker(self, name: str, opening: int) -> None:
        """Close a breaker, unless it has been opened anew. Idempotent."""
