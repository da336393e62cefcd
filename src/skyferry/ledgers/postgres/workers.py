"""Workers and roles in PostgreSQL. A heartbeat is one statement."""

from __future__ import annotations

from collections.abc import Sequence

from skyferry.ledgers import codec, rules
from skyferry.ledgers.postgres.database import LedgerDatabase
from skyferry.ports import Heartbeat, HeldRole, Page, WorkerEntry, WorkerState
from skyferry.sql import load_statements

SQL = load_statements(__package__, "workers.sql")


class PostgresWorkers:
    """The `Workers` part of a ledger."""

    owner: str
    lease: float
    _db: LedgerDatabase

    async def heartbeat(self, last: Heartbeat, wanted: Sequence[str]) -> list[str]:
        values = (self.owner, rules.to_ticks(self.lease), last.state, codec.pack_heartbeat(last), sorted(wanted))
        return [row["name"] for row in await self._db.write_one(lambda db: db.fetch(SQL["heartbeat"], *values))]

    async def list_workers(self, cursor: str = "", limit: int = 100) -> Page[WorkerEntry]:
        rows = await self._db.read(lambda db: db.fetch(SQL["list_workers"], cursor, limit + 1))
        entries = [
            WorkerEntry(
                name, codec.unpack_heartbeat(text), codec.to_seconds(silence), _pair_roles(names or (), ages or ())
            )
            for name, text, silence, names, ages in rows[:limit]
        ]
        return Page(entries, entries[-1].id if len(rows) > limit else "")

    async def count_workers(self) -> dict[WorkerState, int]:
        counts = dict(map(tuple, await self._db.read(lambda db: db.fetch(SQL["count_workers"]))))
        return {state: counts.get(state, 0) for state in WorkerState}


def _pair_roles(names: Sequence[str], ages: Sequence[int]) -> tuple[HeldRole, ...]:
    return tuple(HeldRole(name, codec.to_seconds(age)) for name, age in zip(names, ages, strict=True))
