"""The health of the ledger and the queues of this process, by the result of their last use."""

from __future__ import annotations

from dataclasses import replace

from skyferry.errors import LedgerDamaged, QueueDamaged, SkyferryError
from skyferry.ports import Observer
from skyferry.records import Record
from skyferry.status import HealthCheck

LASTING = (LedgerDamaged, QueueDamaged)  # the next pages read may be intact, but the file is still damaged


class Health:
    """Remembers the last error of the ledger and of each queue until it works again. Damage stays until the process ends.

    Observers get a record when one begins to fail, fails differently, or works again.
    """

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._errors: dict[str, SkyferryError] = {}  # by queue; "" = the ledger

    def record_use(self, queue: str, error: SkyferryError | None) -> None:
        """Record the result of a use of a queue ("" = the ledger); None = it worked."""
        before = self._errors.get(queue)
        if isinstance(before, LASTING) or (error is None and before is None):
            return
        if error is None:
            del self._errors[queue]
            self._observer.on(Record("health.restored", queue=queue))
            return
        self._errors[queue] = error
        if before is None or before.kind != error.kind or before.message != error.message:
            self._observer.on(
                Record("health.failing", queue=queue, error=error.kind, message=_text(error), hint=error.hint)
            )

    def find_lasting_error(self) -> SkyferryError | None:
        """Return an error that no retry can mend: damage, or the refusal of a server."""
        found = self._errors.values()
        return next((error for error in found if isinstance(error, LASTING) or error.transient is False), None)

    def amend_check(self, check: HealthCheck) -> HealthCheck:
        """Return the check of a ledger or queue with its error: a health check may succeed where work fails."""
        error = self._find_error(check)
        return check if error is None else replace(check, state="down", message=str(error))

    def has_reported(self, check: HealthCheck) -> bool:
        """Return True if `health.failing` has reported the failure that this check shows."""
        error = self._find_error(check)
        return error is not None and check.message == str(error)

    def _find_error(self, check: HealthCheck) -> SkyferryError | None:
        if check.part not in ("ledger", "queue"):
            return None
        return self._errors.get("" if check.part == "ledger" else check.name)


def _text(error: SkyferryError) -> str:
    """Return the text without the hint, which is a separate field."""
    return f"{error.where}: {error.message}" if error.where else error.message
