"""What is wrong with the ledger and the queues of this process, as seen by whatever used them last."""

from __future__ import annotations

from dataclasses import replace

from skyferry.errors import LedgerDamaged, QueueDamaged, SkyferryError
from skyferry.ports import Observer
from skyferry.records import Record
from skyferry.status import HealthCheck

LASTING = (LedgerDamaged, QueueDamaged)  # pages that are read next may be whole, and the file is damaged all the same


class Health:
    """Remembers the last error of the ledger and of each queue until it works again; damage stays until the process ends.

    Observers hear when one begins to fail, fails differently, or works again.
    """

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._errors: dict[str, SkyferryError] = {}  # by queue; "" = the ledger

    def hear(self, queue: str, error: SkyferryError | None) -> None:
        """What the last use of a queue ("" = the ledger) ended with; None = it worked."""
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

    def damage(self) -> SkyferryError | None:
        """What no waiting mends."""
        return next((error for error in self._errors.values() if isinstance(error, LASTING)), None)

    def seen(self, check: HealthCheck) -> HealthCheck:
        """Return the check of a ledger or queue with what fails there: a question may pass where work does not."""
        error = self._errors.get("" if check.part == "ledger" else check.name)
        if error is None or check.part not in ("ledger", "queue"):
            return check
        return replace(check, state="down", message=str(error))


def _text(error: SkyferryError) -> str:
    """Without the hint, which has a field of its own."""
    return f"{error.where}: {error.message}" if error.where else error.message
