"""Looks at the sources of one destination key, which also answer the events that arrived before them. Pure.

A look that begins after an event arrived sees its change or a later one, so the event needs no look again. This orders events
without positions, and a sender cannot forge it.
"""

from __future__ import annotations

from dataclasses import field

from skyferry.frozen import dataclass
from skyferry.model import Change, Transfer
from skyferry.ports import Done, Outcome, Settled, Skipped

Source = tuple[str, str, str, str]  # route, and the object's account, bucket and key


@dataclass(frozen=True, slots=True)
class SourceCheck:
    """One look, and its outcome in the ledger."""

    since: int  # the last task that had arrived when it began
    reason: str  # for skipping the events that it answers
    deletes: bool  # True if it answers deletes, too
    checked: bool  # True if the destination was read, too


@dataclass(slots=True)
class SourceChecks:
    """The latest look at each source."""

    _latest: dict[Source, SourceCheck] = field(default_factory=dict)

    def record(self, transfer: Transfer, since: int, outcome: Outcome) -> None:
        """Note a look. The ledger MUST have its outcome: a lost outcome answers no other event."""
        if not since or not isinstance(outcome, Done | Skipped):
            return
        reason = outcome.reason if isinstance(outcome, Skipped) else "superseded"
        deletes = transfer.change is Change.DELETED or reason != "gone"  # a create without an object deletes nothing
        checked = transfer.asked or isinstance(outcome, Done)
        self._latest[_source(transfer)] = SourceCheck(since, reason, deletes, checked)

    def find_outcome(self, transfer: Transfer, came: int) -> Skipped | None:
        """Return the outcome of a transfer that arrived before a look began; None if it needs another look."""
        look = self._latest.get(_source(transfer)) if self._latest else None
        if look is None or came > look.since:
            return None
        if (transfer.asked and not look.checked) or (transfer.change is Change.DELETED and not look.deletes):
            return None
        return Skipped(look.reason)


def is_absent(transfer: Transfer, outcome: Outcome | Settled) -> bool:
    """Return True if a settled transfer may have found no source object. After a delete, only a copy shows that there was one."""
    deleted = transfer.change is Change.DELETED
    if isinstance(outcome, Done):
        return deleted and outcome.placement.deleted
    return isinstance(outcome, Skipped | Settled) and (deleted or outcome.reason in ("gone", "deleted"))


def _source(transfer: Transfer) -> Source:
    source = transfer.source
    return transfer.route, source.account, source.bucket, source.key
