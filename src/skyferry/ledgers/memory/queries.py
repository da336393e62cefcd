"""Queries of transfers and placements in memory, and the filters of listings."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

from skyferry.ledgers.memory.state import LedgerPart, take_page
from skyferry.model import Placement, State
from skyferry.ports import DeadLetter, Filter, Page, TransferRow
from skyferry.ports.ledger.dead_letters import parse_source_key


class MemoryQueries(LedgerPart):
    """The `Transfers` and `Placements` parts of a ledger."""

    async def get_transfer(self, transfer_id: str) -> TransferRow | None:
        await self._step()
        row = self._state.rows.get(transfer_id)
        return replace(row.view(), failures=row.failures) if row else None

    async def list_transfers(self, where: Filter, cursor: str = "", limit: int = 100) -> Page[TransferRow]:
        await self._step()
        now = self._clock.time()
        found = [row for row in self._state.rows.values() if matches_transfer(row.view(), where, now)]
        rows, more = take_page(found, lambda row: row.updated_at, cursor, limit)
        return Page([row.view() for row in rows], more)

    async def count_transfers(self) -> dict[State, int]:
        await self._step()
        found = Counter(row.state for row in self._state.rows.values())
        return {state: found[state] for state in State}

    async def find_oldest_unsettled(self) -> dict[str, float]:
        await self._step()
        rows = reversed(self._state.rows.values())
        return {row.transfer.route: row.transfer.occurred_at for row in rows if not row.state.settled}

    async def get_placements(self, store: str, keys: Sequence[str]) -> list[Placement | None]:
        await self._step()
        return [self._state.placements.get((store, key)) for key in keys]

    async def list_placements(self, store: str, source: str, after: str = "") -> AsyncIterator[Placement]:
        await self._step()
        for key in sorted(key for name, key in self._state.placements if name == store and key > after):
            placement = self._state.placements[store, key]
            if not placement.deleted and placement.source.bucket == source:
                yield placement


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
