"""Stop sending requests to a failing store, and try it again after a cool-down."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import replace
from enum import StrEnum
from typing import Any, TypeVar

from skyferry.errors import BreakerOpen, ConnectionLost, SkyferryError, StoreTimeout, StoreUnavailable, Throttled
from skyferry.frozen import dataclass
from skyferry.ports import Clock, ObjectStore, Observer
from skyferry.ports.decorators import (
    COPY_FROM,
    DELETE,
    FINISH_UPLOAD,
    SET_ATTRIBUTES,
    WRITE,
    WRITE_STREAM,
    Operation,
    StoreDecorator,
)
from skyferry.records import Record

T = TypeVar("T")
SUSPECTS = 16_384  # objects that are remembered as failing: more than a worker has in hand
THROTTLED = 1024  # folders that are remembered as throttled
UNANSWERED = (StoreTimeout, ConnectionLost, StoreUnavailable)  # after these, a change may still take effect
PROVEN = {"look": ("look",), "read": ("read", "look"), "write": ("write", "look")}  # sides that an answer shows to work
LANDING = 20.0  # seconds within which a change that had no answer may take effect
WRITES = (WRITE, WRITE_STREAM, COPY_FROM, FINISH_UPLOAD, SET_ATTRIBUTES)  # operations that may bring an object back
SHOWN_BY = {"look": ("look", "read", "write"), "read": ("read",), "write": ("write",)}  # the same from the other end


class BreakerState(StrEnum):
    """Closed: all requests pass. Open: none. Half-open: those of probes."""

    CLOSED = "closed"
    HALF_OPEN = "half_open"
    OPEN = "open"


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """The limits of a breaker, from BreakerSettings."""

    failures: int = 5  # different objects that fail in a row
    cooldown: float = 5.0  # seconds
    max_cooldown: float = 60.0
    probes: int = 1


class Circuit:
    """A circuit that opens after consecutive failures of several different objects.

    An object that failed before and has not succeeded since counts no second time, because it shows nothing new. Looks (HEAD),
    reads and writes are counted separately: a full disk still reads, and a store whose reads stall may still answer looks.
    """

    def __init__(self, policy: BreakerPolicy, clock: Clock) -> None:
        self.state = BreakerState.CLOSED
        self._policy, self._clock = policy, clock
        self._streaks = dict.fromkeys(PROVEN, 0)  # objects that began to fail since the last success
        self._suspects: dict[int, float] = {}  # objects that fail, by the hash of side and key; when each began
        self._answered = dict.fromkeys(PROVEN, float("-inf"))
        self._broken = ""  # the side that opened the breaker; its success closes it
        self._opened_by = ""  # the object that last opened it
        self._cooldown = policy.cooldown
        self._until = 0.0
        self._probing = 0

    def time_to_trial(self, *, asks: bool = True) -> float:
        """Return the seconds until a transfer may be tried; 0 = now. After the cool-down, become half-open.

        `asks`: a transfer waits for it.
        """
        if self.state is BreakerState.CLOSED:
            return 0.0
        left = self._until - self._clock.monotonic()
        if left > 0:
            return left
        self.state = BreakerState.HALF_OPEN
        return 0.0 if self._probing < self._policy.probes else self._policy.cooldown / 4

    def begin_transfer(self) -> bool:
        """Return True if the transfer is a probe; then `end_probe` MUST follow."""
        if self.state is BreakerState.CLOSED:
            return False
        self._probing += 1
        return True

    def end_probe(self) -> None:
        """Free the place of a probe, however it ended."""
        self._probing -= 1

    def time_open(self) -> float:
        """Return the seconds for which requests are still refused; 0 = not at all."""
        if self.state is not BreakerState.OPEN:
            return 0.0
        return max(0.0, self._until - self._clock.monotonic())

    def record_answer(self, side: str, key: str) -> None:
        """Record a success of a request for this object, or an error that is no outage."""
        self._answered[side] = self._clock.monotonic()
        if self._suspects:  # without one, no streak has begun
            self._streaks.update(dict.fromkeys(PROVEN[side], 0))
            self._suspects.pop(hash((side, key)), None)
        if self.state is not BreakerState.CLOSED and self._broken in PROVEN[side]:
            self._close()

    def record_outage(self, side: str, key: str, retry_after: float | None) -> None:
        """Record an outage error of a request for this object."""
        if (suspect := hash((side, key))) not in self._suspects:
            if len(self._suspects) >= SUSPECTS:
                del self._suspects[next(iter(self._suspects))]
            self._suspects[suspect] = self._clock.monotonic()
            self._streaks[side] += 1
        if self.state is BreakerState.HALF_OPEN:
            if key != self._opened_by:
                self._cooldown = min(self._cooldown * 2, self._policy.max_cooldown)
            self._open(side, key, retry_after)
        elif self.state is BreakerState.CLOSED and self._streaks[side] >= self._policy.failures:
            self._open(side, key, retry_after)

    @property
    def time_left(self) -> float:
        """The seconds until a trial is due."""
        return max(0.0, self._until - self._clock.monotonic())

    @property
    def idle(self) -> bool:
        """True if it is closed and remembers no failing object."""
        return self.state is BreakerState.CLOSED and not self._suspects

    def has_answered(self, side: str, since: float) -> bool:
        """Return True if the store has answered on this side since then (monotonic seconds)."""
        return any(self._answered[other] >= since for other in SHOWN_BY[side])

    def has_responded(self, since: float) -> bool:
        """Return True if the store has answered on any side since then (monotonic seconds)."""
        return max(self._answered.values()) >= since

    def has_failed(self, key: str, before: float) -> bool:
        """Return True if this object failed before then (monotonic seconds), and has not succeeded since."""
        return any(self._suspects.get(hash((side, key)), before) < before for side in PROVEN)

    def _close(self) -> None:
        self.state, self._cooldown = BreakerState.CLOSED, self._policy.cooldown

    def _open(self, side: str, key: str, retry_after: float | None) -> None:
        self.state, self._broken, self._opened_by = BreakerState.OPEN, side, key
        self._until = self._clock.monotonic() + max(self._cooldown, retry_after or 0.0)


class LateChanges:
    """Objects with a change that had no answer. Until `LANDING` seconds later it may take effect, also after its repetition.

    Of a key that was taken over, the former worker's changes are among them: it aborts them shortly before its lease ends.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ends: dict[str, float] = {}  # by key, in this order: when it can no longer take effect, monotonic seconds

    def record(self, key: str) -> None:
        """Record that a change had no answer."""
        now = self._clock.monotonic()
        while self._ends and self._ends[oldest := next(iter(self._ends))] <= now:
            del self._ends[oldest]
        self._ends.pop(key, None)
        self._ends[key] = now + LANDING

    def time_left(self, key: str) -> float:
        """Return the seconds within which such a change of this object may still take effect; 0 = there is none."""
        if not self._ends:
            return 0.0
        return max(0.0, self._ends.get(key, 0.0) - self._clock.monotonic())


class Breaker(Circuit):
    """The circuit breaker of one store, with a circuit for each folder whose objects are throttled.

    Services throttle busy prefixes of a bucket. A throttled object counts for the circuit of its folder, which delays only the
    objects there. For the store, a throttled folder counts like one failing object.
    """

    def __init__(self, policy: BreakerPolicy, clock: Clock) -> None:
        super().__init__(policy, clock)
        self._folders: dict[int, Circuit] = {}
        self.late_writes, self.late_deletes = LateChanges(clock), LateChanges(clock)
        self.own_changes = LateChanges(clock)  # those of both that this process has begun

    def find_troubled(self, key: str) -> list[Circuit]:
        """Return the circuits that requests for this object pass and that are not closed."""
        circuits = (self, self.folder(hash_folder(key))) if self._folders else (self,)
        return [circuit for circuit in circuits if circuit is not None and circuit.state is not BreakerState.CLOSED]

    def folder(self, number: int) -> Circuit | None:
        """Return the circuit of a folder (`hash_folder`) if requests in it are throttled."""
        return self._folders.get(number) if self._folders else None

    @property
    def throttled(self) -> int:
        """The number of folders whose objects wait."""
        return sum(folder.state is not BreakerState.CLOSED for folder in self._folders.values())

    def time_refused(self, key: str) -> float:
        """Return the seconds for which requests for this object are still refused; 0 = not at all."""
        if self.state is BreakerState.CLOSED and not self._folders:
            return 0.0
        return max((circuit.time_open() for circuit in self.find_troubled(key)), default=0.0)

    def record_answer(self, side: str, key: str) -> None:
        super().record_answer(side, key)
        if self._folders and (folder := self._folders.get(number := hash_folder(key))):
            folder.record_answer(side, key)
            self._suspects.pop(hash((side, _parent(key))), None)
            if folder.idle:
                del self._folders[number]

    def record_throttle(self, side: str, key: str, retry_after: float | None) -> None:
        """Record that a request for this object was throttled."""
        number = hash_folder(key)
        if number not in self._folders:
            if len(self._folders) >= THROTTLED:
                del self._folders[next(iter(self._folders))]
            self._folders[number] = Circuit(self._policy, self._clock)
        self._folders[number].record_outage(side, key, retry_after)
        self.record_outage(side, _parent(key), retry_after)

    def record_unanswered(self, operation: Operation, key: str) -> None:
        """Record that a request had no answer that says what it did. It may still take effect."""
        if operation in WRITES:
            self.late_writes.record(key)
            self.own_changes.record(key)
        elif operation is DELETE:
            self.late_deletes.record(key)
            self.own_changes.record(key)

    def record_aborted(self, key: str) -> None:
        """Record that this process aborted a change of this object. It may still take effect."""
        self.own_changes.record(key)
        self.expect_late_changes(key)

    def expect_late_changes(self, key: str) -> None:
        """Record that another worker may have begun changes of this object, and aborted them at the end of its lease."""
        self.late_writes.record(key)
        self.late_deletes.record(key)

    def time_landing(self, key: str) -> float:
        """Return the seconds within which an unanswered change of this object may still take effect; 0 = there is none."""
        return max(self.late_writes.time_left(key), self.late_deletes.time_left(key))

    def has_failed(self, key: str, before: float) -> bool:
        folder = self.folder(hash_folder(key))
        return super().has_failed(key, before) or (folder is not None and folder.has_failed(key, before))


def hash_folder(key: str) -> int:
    """Return a number for the folder of an object."""
    return hash(_parent(key))


def _parent(key: str) -> str:
    return f"{key.rpartition('/')[0]}/"


class CircuitBreakingStore(StoreDecorator):
    """Refuses requests while the breaker is open, and records the results of the others in it."""

    def __init__(self, inner: ObjectStore, breaker: Breaker, observer: Observer) -> None:
        super().__init__(inner)
        self._breaker, self._observer = breaker, observer

    async def _request(
        self, operation: Operation, key: str, size: int, call: Callable[..., Coroutine[Any, Any, T]], *args: Any
    ) -> T:
        breaker = self._breaker
        if (wait := breaker.time_refused(key)) > 0:
            raise BreakerOpen(where=self.name, retry_after=wait)
        try:
            answer = await call(*args)
        except SkyferryError as error:
            before = breaker.state
            if not error.outage:
                breaker.record_answer(operation.side, key)
            elif isinstance(error, Throttled):
                breaker.record_throttle(operation.side, key, error.retry_after)
            elif not error.local:
                breaker.record_outage(operation.side, key, error.retry_after)
                if error.sent and isinstance(error, UNANSWERED):
                    breaker.record_unanswered(operation, key)
            self._report(before, error)
            raise
        before = breaker.state
        breaker.record_answer(operation.side, key)
        if breaker.state is not before:
            self._report(before)
        return answer

    def _report(self, before: BreakerState, error: SkyferryError | None = None) -> None:
        """Report a new state; if it is open, with the last error."""
        state = self._breaker.state
        if state is before:
            return
        record = Record("breaker.changed", store=self.name, reason=state)
        if error is not None and state is BreakerState.OPEN:
            record = replace(record, error=error.kind, message=error.message, hint=error.hint)
        self._observer.on(record)
