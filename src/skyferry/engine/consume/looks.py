"""Looks at the sources of one destination key, and which other events they have answered. Pure.

An event says that something has happened. A look that begins after the event came sees that change, or a later one: there is no
need for another. This is order without any position, and nothing that a sender writes can forge it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from skyferry.model import Change, Transfer
from skyferry.ports import Done, Outcome, Skipped

Source = tuple[str, str, str, str]  # route, and the object's account, bucket and key


@dataclass(frozen=True, slots=True)
class Look:
    """One look, and what came of it, as the ledger has it."""

    since: int  # the last job that had come when it began
    reason: str  # of the events that it answers
    deletes: bool  # it answers deletes, too
    checked: bool  # the destination was seen, too


@dataclass(slots=True)
class Looks:
    """The latest look at each source."""

    _latest: dict[Source, Look] = field(default_factory=dict)

    def remember(self, transfer: Transfer, since: int, outcome: Outcome) -> None:
        """Note a look. The ledger MUST have its outcome: one that was lost has answered nobody else."""
        if not since or not isinstance(outcome, Done | Skipped):
            return
        reason = outcome.reason if isinstance(outcome, Skipped) else "superseded"
        deletes = transfer.change is Change.DELETED or reason != "gone"  # a create whose object is gone deletes nothing
        checked = transfer.asked or isinstance(outcome, Done)
        self._latest[_source(transfer)] = Look(since, reason, deletes, checked)

    def answer(self, transfer: Transfer, came: int) -> Skipped | None:
        """The outcome of a transfer that came before a look began; None if it needs one of its own."""
        look = self._latest.get(_source(transfer))
        if look is None or came > look.since:
            return None
        if (transfer.asked and not look.checked) or (transfer.change is Change.DELETED and not look.deletes):
            return None
        return Skipped(look.reason)


def _source(transfer: Transfer) -> Source:
    source = transfer.source
    return transfer.route, source.account, source.bucket, source.key
