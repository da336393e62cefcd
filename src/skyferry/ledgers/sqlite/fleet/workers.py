"""Workers and roles on SQLite. A heartbeat is not flushed to the disk: a power failure ends every worker of the file."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

import orjson

from skyferry.ledgers import codec, rules
from skyferry.ledgers.codec import pack_json
from skyferry.ledgers.sqlite.claims import SqliteClaims
from skyferry.ports import Heartbeat, HeldRole, Page, WorkerEntry, WorkerState
from skyferry.sql import load_statements

SQL = load_statements("skyferry.ledgers.sqlite", "workers.sql")
STEPS = ("record", "forget_workers", "free_roles", "take_roles")


class SqliteWorkers(SqliteClaims):
    """The `Workers` part of a ledger, upon its claims: a dead process loses its leases and roles together."""

    async def heartbeat(self, last: Heartbeat, wanted: Sequence[str]) -> list[str]:
        """See `Workers`. The roles of a process that has died are free at once."""
        held = await self._beat(last, wanted)
        if len(held) < len(wanted) and await self._sweep():
            held = await self._beat(last, wanted)
        return held

    async def _beat(self, last: Heartbeat, wanted: Sequence[str]) -> list[str]:
        now = self._clock.time()
        values = {
            "owner": self.owner,
            "now": rules.to_ticks(now),
            "until": rules.to_ticks(now + self.lease),
            "state": last.state,
            "heartbeat": codec.pack_heartbeat(last),
            "wanted": pack_json(list(wanted)),
        }

        def operation(db: sqlite3.Connection) -> list[str]:
            for step in STEPS:
                db.execute(SQL[step], values)
            return list(orjson.loads(db.execute(SQL["roles_of"], values).fetchone()[0]))

        return await self._file.write(operation, flush=False)

    async def list_workers(self, cursor: str = "", limit: int = 100) -> Page[WorkerEntry]:
        now = rules.to_ticks(self._clock.time())
        rows = await self._query("list_workers", now=now, after=cursor, limit=limit + 1)
        return build_worker_page(rows, now, limit)

    async def count_workers(self) -> dict[WorkerState, int]:
        counts = await self._query("count_workers", now=rules.to_ticks(self._clock.time()))
        return {state: counts.get(state, 0) for state in WorkerState}

    async def _query(self, name: str, **values: object) -> Any:
        """Return the result of a query, which is one JSON value."""
        return orjson.loads(await self._file.read(lambda db: db.execute(SQL[name], values).fetchone()[0]))


def build_worker_page(rows: Sequence[Any], now: int, limit: int) -> Page[WorkerEntry]:
    """Return a page of what `list_workers` has found, one more than `limit` if there are more. `now` is in ticks."""
    entries = [
        WorkerEntry(name, codec.unpack_heartbeat(text), codec.to_seconds(now - at), _list_roles(roles))
        for name, text, at, roles in rows[:limit]
    ]
    return Page(entries, entries[-1].id if len(rows) > limit else "")


def _list_roles(rows: Sequence[tuple[str, int]]) -> tuple[HeldRole, ...]:
    return tuple(HeldRole(name, codec.to_seconds(age)) for name, age in rows)
