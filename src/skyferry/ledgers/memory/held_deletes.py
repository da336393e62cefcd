"""Held deletes and identities of sources in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace

from skyferry.ledgers.filters import matches_held
from skyferry.ledgers.memory.state import LedgerPart
from skyferry.ports import Page
from skyferry.ports.ledger.held_deletes import Decision, HeldDelete, HeldFilter


class MemoryHeldDeletes(LedgerPart):
    """The `HeldDeletes` and `SourceIdentities` parts of a ledger."""

    async def get_identity(self, source: str) -> str:
        await self._step()
        return self._state.identities.get(source, "")

    async def set_identity(self, source: str, identity: str) -> None:
        await self._step()
        self._state.identities[source] = identity

    async def hold_deletes(self, deletes: Sequence[HeldDelete]) -> int:
        await self._step()
        known = self._state.held_deletes
        before = len(known)
        for held in deletes:
            known.setdefault(held.id, held)
        return len(known) - before

    async def list_held_deletes(self, where: HeldFilter, cursor: str = "", limit: int = 100) -> Page[HeldDelete]:
        await self._step()
        found = self._find_held(where)[::-1]
        start = int(cursor or 0)
        return Page(found[start : start + limit], str(start + limit) if len(found) > start + limit else "")

    async def count_held_deletes(self) -> list[tuple[str, str, int]]:
        await self._step()
        groups = Counter((held.store, held.reason) for held in self._find_held(HeldFilter()))
        return sorted((*group, count) for group, count in groups.items())

    async def find_held_deletes(self, ids: Sequence[str]) -> set[str]:
        await self._step()
        return {name for name in ids if name in self._state.held_deletes}

    async def approve_deletes(self, where: HeldFilter, ids: Collection[str] | None = None) -> int:
        return await self._decide("approved", where, ids, ("held", "rejected"))

    async def reject_deletes(self, where: HeldFilter, ids: Collection[str] | None = None) -> int:
        return await self._decide("rejected", where, ids, ("held",))

    async def list_approved_deletes(self, limit: int) -> list[HeldDelete]:
        await self._step()
        return self._find_held(HeldFilter(state="approved"))[:limit]

    async def forget_deletes(self, ids: Sequence[str]) -> int:
        await self._step()
        return sum(self._state.held_deletes.pop(name, None) is not None for name in ids)

    async def _decide(
        self, state: Decision, where: HeldFilter, ids: Collection[str] | None, before: tuple[Decision, ...]
    ) -> int:
        await self._step()
        found = [held for held in self._find_held(where, ids) if held.state in before]
        for held in found:
            self._state.held_deletes[held.id] = replace(held, state=state, decided_at=self._clock.time())
            if held.reason == "replaced":
                self._state.identities.pop(f"{held.source.provider}://{held.source.bucket}", None)
        return len(found)

    def _find_held(self, where: HeldFilter, ids: Collection[str] | None = None) -> list[HeldDelete]:
        return [h for h in self._state.held_deletes.values() if (ids is None or h.id in ids) and matches_held(h, where)]
