"""Filters of listings, compared with records. Pure."""

from __future__ import annotations

from skyferry.model import State
from skyferry.ports import DeadLetter, Filter, TransferRow
from skyferry.ports.ledger.dead_letters import parse_source_key
from skyferry.ports.ledger.held_deletes import HeldDelete, HeldFilter


def matches_transfer(row: TransferRow, where: Filter, now: float) -> bool:
    """Return True if the transfer matches everything that the filter gives."""
    return (
        (where.state is None or row.state is where.state)
        and (not where.route or row.transfer.route == where.route)
        and row.transfer.key.startswith(where.key_prefix)
        and (not where.source_key or row.transfer.source.key == where.source_key)
        and (not where.reason or row.reason == where.reason)
        and _within(row.updated_at, where)
        and not (where.idle and max(row.updated_at, row.due_at or 0.0) > now - where.idle)
    )


def matches_letter(letter: DeadLetter, where: Filter, now: float) -> bool:
    """Return True if the letter matches everything that the filter gives."""
    return (
        where.state in (None, State.DEAD)
        and (not where.route or letter.route == where.route)
        and letter.key.startswith(where.key_prefix)
        and (not where.source_key or parse_source_key(letter.source) == where.source_key)
        and (not where.reason or letter.reason == where.reason)
        and _within(letter.at, where)
        and not (where.idle and letter.at > now - where.idle)
    )


def _within(at: float, where: Filter) -> bool:
    return (where.since is None or at >= where.since) and (where.until is None or at < where.until)


def matches_held(held: HeldDelete, where: HeldFilter) -> bool:
    """Return True if the held delete matches everything that the filter gives."""
    return (
        where.state in (None, held.state)
        and where.store in ("", held.store)
        and (not where.route or where.route in held.routes)
        and where.reason in ("", held.reason)
        and held.source.key.startswith(where.prefix)
        and (where.at is None or held.at == where.at)
    )
