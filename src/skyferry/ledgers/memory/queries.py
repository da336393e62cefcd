"""The filters of listings, in memory."""

from __future__ import annotations

from skyferry.ledgers import rules
from skyferry.model import State
from skyferry.ports import DeadLetter, Filter, TransferRow


def matches(row: TransferRow, where: Filter) -> bool:
    """Whether everything that the filter gives matches the transfer."""
    return (
        (where.state is None or row.state is where.state)
        and (not where.route or row.transfer.route == where.route)
        and row.transfer.key.startswith(where.key_prefix)
        and (not where.source_key or row.transfer.source.key == where.source_key)
        and (not where.reason or row.reason == where.reason)
        and within(row.updated_at, where)
    )


def letter_matches(letter: DeadLetter, where: Filter) -> bool:
    """Whether everything that the filter gives matches the letter."""
    return (
        where.state in (None, State.DEAD)
        and (not where.route or letter.route == where.route)
        and letter.key.startswith(where.key_prefix)
        and (not where.source_key or rules.source_key(letter.source) == where.source_key)
        and (not where.reason or letter.reason == where.reason)
        and within(letter.at, where)
    )


def within(at: float, where: Filter) -> bool:
    """Whether a time is one that the filter asks for."""
    return (where.since is None or at >= where.since) and (where.until is None or at < where.until)
