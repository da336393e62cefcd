"""Events that no route takes, in memory."""

from __future__ import annotations

from collections.abc import Sequence

from skyferry.ledgers.memory.state import LedgerPart
from skyferry.ports import Refusal


class MemoryRefusals(LedgerPart):
    """The `RefusalLog` part of a ledger."""

    async def add_refusals(self, refusals: Sequence[Refusal]) -> None:
        await self._step()
        self._state.refusals.update(((r.source.provider, r.source.bucket, r.source.key), r) for r in refusals)

    async def list_refusals(self, key: str) -> list[Refusal]:
        await self._step()
        return sorted((r for (_, _, name), r in self._state.refusals.items() if name == key), key=lambda r: -r.at)

    def _prune_refusals(self, before: float, limit: int) -> int:
        """Forget the oldest. Return the count."""
        old = sorted((r.at, name) for name, r in self._state.refusals.items() if r.at < before)[:limit]
        for _, name in old:
            del self._state.refusals[name]
        return len(old)
