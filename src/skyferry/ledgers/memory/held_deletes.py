"""Held deletes and identities, in memory."""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

from skyferry.ports import Clock, Page
from skyferry.ports.ledger.held_deletes import Decision, HeldDelete, HeldFilter


@dataclass(slots=True)
class Held:
    """What is remembered: by id, the earliest first."""

    deletes: dict[str, HeldDelete] = field(default_factory=dict)
    identities: dict[str, str] = field(default_factory=dict)

    def find(self, where: HeldFilter, ids: Collection[str] | None = None) -> list[HeldDelete]:
        """Those that match."""
        return [held for held in self.deletes.values() if (ids is None or held.id in ids) and _matches(held, where)]


class MemoryHeld:
    """The `HeldDeletes` part of a ledger."""

    _deletes: Held
    _clock: Clock

    @abstractmethod
    async def _step(self) -> None:
        """Before every operation."""

    async def identity(self, source: str) -> str:
        await self._step()
        return self._deletes.identities.get(source, "")

    async def identify(self, source: str, identity: str) -> None:
        await self._step()
        self._deletes.identities[source] = identity

    async def hold_deletes(self, deletes: Sequence[HeldDelete]) -> int:
        await self._step()
        known = self._deletes.deletes
        before = len(known)
        for held in deletes:
            known.setdefault(held.id, held)
        return len(known) - before

    async def held_deletes(self, where: HeldFilter, cursor: str = "", limit: int = 100) -> Page[HeldDelete]:
        await self._step()
        found = self._deletes.find(where)[::-1]
        start = int(cursor or 0)
        return Page(found[start : start + limit], str(start + limit) if len(found) > start + limit else "")

    async def held_counts(self) -> list[tuple[str, str, int]]:
        await self._step()
        groups = Counter((held.store, held.reason) for held in self._deletes.find(HeldFilter()))
        return sorted((*group, count) for group, count in groups.items())

    async def known_deletes(self, ids: Sequence[str]) -> set[str]:
        await self._step()
        return {name for name in ids if name in self._deletes.deletes}

    async def approve_deletes(self, where: HeldFilter, ids: Collection[str] | None = None) -> int:
        return await self._decide("approved", where, ids, ("held", "rejected"))

    async def reject_deletes(self, where: HeldFilter, ids: Collection[str] | None = None) -> int:
        return await self._decide("rejected", where, ids, ("held",))

    async def approved_deletes(self, limit: int) -> list[HeldDelete]:
        await self._step()
        return self._deletes.find(HeldFilter(state="approved"))[:limit]

    async def forget_deletes(self, ids: Sequence[str]) -> int:
        await self._step()
        return sum(self._deletes.deletes.pop(name, None) is not None for name in ids)

    async def _decide(
        self, state: Decision, where: HeldFilter, ids: Collection[str] | None, before: tuple[Decision, ...]
    ) -> int:
        await self._step()
        found = [held for held in self._deletes.find(where, ids) if held.state in before]
        for held in found:
            self._deletes.deletes[held.id] = replace(held, state=state, decided_at=self._clock.time())
            if held.reason == "replaced":
                self._deletes.identities.pop(f"{held.source.provider}://{held.source.bucket}", None)
        return len(found)


def _matches(held: HeldDelete, where: HeldFilter) -> bool:
    return (
        where.state in (None, held.state)
        and where.store in ("", held.store)
        and (not where.route or where.route in held.routes)
        and where.reason in ("", held.reason)
        and held.source.key.startswith(where.prefix)
        and (where.at is None or held.at == where.at)
    )
