"""The health of the ledger and the queues of this process, by the result of their last use."""

from __future__ import annotations

from dataclasses import field, replace

from skyferry.errors import LedgerDamaged, QueueDamaged, SkyferryError
from skyferry.frozen import dataclass
from skyferry.ports import Clock, Observer
from skyferry.records import Record
from skyferry.status import HealthCheck

PARTS = ("ledger", "queue")
LASTING = (LedgerDamaged, QueueDamaged)  # the next pages read may be intact, but the file is still damaged
DIFFERENT = 5  # failures of one outage that are reported at most: a server that dies fails in several ways


@dataclass(slots=True)
class _Outage:
    """Failures of one queue, or of the ledger, since it last worked."""

    error: SkyferryError  # the last one
    since: float  # monotonic seconds
    count: int = 0  # of failed uses
    reported: set[tuple[str, str]] = field(default_factory=set)  # kinds and messages


class Health:
    """Remembers the last error of the ledger and of each queue until it works again. Damage stays until the process ends.

    Observers get a record when one begins to fail, fails differently, or works again: with the number of failures and the
    duration.
    """

    def __init__(self, observer: Observer, clock: Clock) -> None:
        self._observer, self._clock = observer, clock
        self._outages: dict[str, _Outage] = {}  # by queue; "" = the ledger
        self._ended: dict[str, SkyferryError] = {}  # the last error of the last outage, by queue

    def record_use(self, queue: str, error: SkyferryError | None) -> None:
        """Record the result of a use of a queue ("" = the ledger); None = it worked."""
        now, outage = self._clock.monotonic(), self._outages.get(queue)
        if (outage and isinstance(outage.error, LASTING)) or (error is None and outage is None):
            return
        if error is None:
            outage = self._outages.pop(queue)
            self._ended[queue] = outage.error
            duration = now - outage.since
            self._observer.on(Record("health.restored", queue=queue, count=outage.count, duration=duration))
            return
        outage = outage or self._outages.setdefault(queue, _Outage(error, now))
        outage.error, outage.count = error, outage.count + 1
        said = (error.kind, error.message)
        if said not in outage.reported and (len(outage.reported) < DIFFERENT or isinstance(error, LASTING)):
            outage.reported.add(said)
            self._observer.on(
                Record("health.failing", queue=queue, error=error.kind, message=_text(error), hint=error.hint)
            )

    def find_lasting_error(self) -> SkyferryError | None:
        """Return an error that no retry can mend: damage, or the refusal of a server."""
        found = [outage.error for outage in self._outages.values()]
        return next((error for error in found if isinstance(error, LASTING) or error.transient is False), None)

    def amend_check(self, check: HealthCheck) -> HealthCheck:
        """Return the check of a ledger or queue with its error: a health check may succeed where work fails.

        A check that found the error of an outage is out of date once the outage has ended.
        """
        if (outage := self._find_outage(check)) is not None:
            return replace(check, state="down", message=str(outage.error))
        ended = self._ended.get(_name(check)) if check.part in PARTS else None
        return replace(check, state="ok", message="") if ended and check.message == str(ended) else check

    def has_reported(self, check: HealthCheck) -> bool:
        """Return True if `health.failing` has reported the failure that this check shows."""
        outage = self._find_outage(check)
        return outage is not None and check.message == str(outage.error)

    def _find_outage(self, check: HealthCheck) -> _Outage | None:
        return self._outages.get(_name(check)) if check.part in PARTS else None


def _name(check: HealthCheck) -> str:
    return "" if check.part == "ledger" else check.name


def _text(error: SkyferryError) -> str:
    """Return the text without the hint, which is a separate field."""
    return f"{error.where}: {error.message}" if error.where else error.message
