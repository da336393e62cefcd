"""Workers and roles in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from skyferry.ledgers.memory.state import LedgerPart, MemoryRole, MemoryWorker
from skyferry.ports import Heartbeat, HeldRole, Page, WorkerEntry, WorkerState


class MemoryWorkers(LedgerPart):
    """The `Workers` part of a ledger."""

    owner: str
    lease: float

    async def heartbeat(self, last: Heartbeat, wanted: Sequence[str]) -> list[str]:
        await self._step()
        now, state, me = self._clock.time(), self._state, self.owner
        until = now + self.lease
        state.workers[me] = MemoryWorker(last, now, until)
        state.workers = {name: worker for name, worker in state.workers.items() if worker.until > now}
        state.roles = {
            name: role
            for name, role in state.roles.items()
            if (name in wanted if role.holder == me else role.until > now)
        }
        for name in wanted:
            if (role := state.roles.get(name)) is None or role.holder == me:
                since = role.since if role and role.until > now else now
                state.roles[name] = MemoryRole(me, since, until)
        return sorted(name for name, role in state.roles.items() if role.holder == me)

    async def list_workers(self, cursor: str = "", limit: int = 100) -> Page[WorkerEntry]:
        await self._step()
        left = sorted(name for name in self._find_present() if name > cursor)
        return Page([self._view(name) for name in left[:limit]], left[limit - 1] if len(left) > limit else "")

    async def count_workers(self) -> dict[WorkerState, int]:
        await self._step()
        counts = Counter(worker.last.state for worker in self._find_present().values())
        return {state: counts[state] for state in WorkerState}

    def _find_present(self) -> dict[str, MemoryWorker]:
        now = self._clock.time()
        return {name: worker for name, worker in self._state.workers.items() if worker.until > now}

    def _find_leased(self) -> dict[str, MemoryRole]:
        now = self._clock.time()
        return {name: role for name, role in self._state.roles.items() if role.until > now}

    def _view(self, owner: str) -> WorkerEntry:
        now, worker = self._clock.time(), self._state.workers[owner]
        held = [(name, role) for name, role in sorted(self._find_leased().items()) if role.holder == owner]
        roles = tuple(HeldRole(name, now - role.since) for name, role in held)
        return WorkerEntry(owner, worker.last, now - worker.at, roles)
