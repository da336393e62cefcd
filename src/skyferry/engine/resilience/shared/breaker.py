"""A circuit breaker that all workers of a ledger share."""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from skyferry.engine.resilience.circuit_breaker import Breaker, BreakerPolicy, BreakerState
from skyferry.ports import Clock, OpenBreaker

AGAIN = 0.5  # seconds between two questions for a trial, and of a refused request until its retry
REFUSED = 1.0  # seconds before a refused worker asks for a trial again
YIELD = 2.0  # seconds for which a worker that found the store down leaves the trial to others


class FleetBreaker(Breaker):
    """The breaker of one store. What one worker finds holds for all, and one worker tries the store at a time.

    `FleetLimits` exchanges its state with the ledger. Throttled folders are this worker's alone. Without the ledger, or if
    others have closed what only this worker found, it is an ordinary breaker.
    """

    def __init__(self, name: str, policy: BreakerPolicy, clock: Clock, wake: Callable[[], None]) -> None:
        """`name` is the same for all workers. `wake` asks for an exchange with the ledger."""
        super().__init__(policy, clock)
        self.name = name
        self.alone = False  # the ledger does not answer
        self.unpublished = False  # the ledger does not know the state yet
        self.opening = 0  # of the ledger; 0 = closed there
        self._wake = wake
        self._found_here = False  # this worker's requests opened it
        self._contradicted = False  # others closed what this worker opened, and it has had no answer since
        self._private = False  # open for this worker alone
        self._wanted = False  # a transfer waits for the trial
        self._trial_ends = self._asks_after = -inf  # monotonic seconds

    @property
    def cooldown(self) -> float:
        """The seconds that it is open for, to be lengthened if a trial fails."""
        return self._cooldown

    @property
    def side(self) -> str:
        """The side that opened it."""
        return self._broken

    @property
    def private(self) -> bool:
        """True if it is open for this worker alone."""
        return self._private

    def time_to_trial(self, *, asks: bool = True) -> float:
        if self.alone or self._private or self.state is BreakerState.CLOSED:
            return super().time_to_trial()
        now = self._clock.monotonic()
        if now < self._trial_ends:
            return super().time_to_trial()
        if (left := self._until + (YIELD if self._found_here else 0.0) - now) > 0:
            return left
        self.state = BreakerState.HALF_OPEN
        if asks and not self._wanted and now >= self._asks_after:
            self._wanted = True
            self._wake()
        return max(AGAIN, self._asks_after - now)

    def time_open(self) -> float:
        left = super().time_open()
        if (
            self.alone
            or self._private
            or self.state is BreakerState.CLOSED
            or self._clock.monotonic() < self._trial_ends
        ):
            return left
        return max(left, AGAIN)  # another worker tries it

    def record_answer(self, side: str, key: str) -> None:
        self._contradicted = False
        super().record_answer(side, key)

    def find_wanted_trial(self) -> int:
        """Return the opening of which this worker wants the trial, or continues it; 0 = none."""
        if not (self._wanted or self._probing) or self._private or self.state is BreakerState.CLOSED:
            return 0
        self._wanted = False
        return self.opening

    def grant_trial(self, opening: int, ends: float) -> None:
        """Try the store until `ends` (monotonic seconds), unless it has been opened anew or closed meanwhile."""
        if opening == self.opening and not self.unpublished and self.state is not BreakerState.CLOSED:
            self.state, self._trial_ends = BreakerState.HALF_OPEN, ends

    def refuse_trial(self) -> None:
        """Another worker tries the store."""
        self._trial_ends, self._asks_after = -inf, self._clock.monotonic() + REFUSED

    def learn(self, found: OpenBreaker | None) -> None:
        """Take the state that the ledger has, unless this worker's is newer."""
        if self.unpublished or (opening := found.opening if found else 0) == self.opening:
            return
        self.opening = opening
        if found is not None:
            self.state, self._broken, self._opened_by = BreakerState.OPEN, found.side, ""
            self._until, self._cooldown = self._clock.monotonic() + max(0.0, found.left), found.cooldown
            self._found_here, self._private, self._trial_ends = False, False, -inf
        elif not self._private and self.state is not BreakerState.CLOSED:
            self._contradicted = self._found_here
            super()._close()
            self._trial_ends, self._wanted = -inf, False

    def _open(self, side: str, key: str, retry_after: float | None) -> None:
        super()._open(side, key, retry_after)
        self._found_here, self._trial_ends = True, -inf
        if self._contradicted:
            self._private = True
        else:
            self._publish()

    def _close(self) -> None:
        super()._close()
        self._trial_ends, self._wanted, self._private = -inf, False, False
        self._publish()

    def _publish(self) -> None:
        self.unpublished = True
        self._wake()
