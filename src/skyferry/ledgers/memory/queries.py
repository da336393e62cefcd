"""Queries of transfers and placements in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

from skyferry.ledgers.filters import matches_transfer
from skyferry.ledgers.memory.state import LedgerPart, take_page
from skyferry.model import ObjectMeta, ObjectRef, Placement, State
from skyferry.ports import Filter, Page, TransferRow
from skyferry.ports.joins import select_current


class MemoryQueries(LedgerPart):
    """The `Transfers` and `Placements` parts of a ledger."""

    async def get_transfer(self, transfer_id: str) -> TransferRow | None:
        await self._step()
        row = self._state.rows.get(transfer_id)
        return replace(row.view(), failures=row.failures) if row else None

    async def find_ids(self, prefix: str, limit: int) -> list[str]:
        await self._step()
        return [id_ for id_ in self._state.rows if id_.startswith(prefix)][:limit]

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

    async def find_current(self, store: str, source: ObjectRef, listed: Sequence[tuple[ObjectMeta, str]]) -> set[str]:
        return select_current(await self.get_placements(store, [key for _, key in listed]), source, listed)

    async def list_placements(self, store: str, source: str, after: str = "") -> AsyncIterator[Placement]:
        await self._step()
        for key in sorted(key for name, key in self._state.placements if name == store and key > after):
            placement = self._state.placements[store, key]
            if not placement.deleted and placement.source.bucket == source:
                yield placement
