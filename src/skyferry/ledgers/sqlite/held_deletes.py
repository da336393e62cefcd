"""Held deletes and identities of sources on SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Sequence
from typing import Any

import orjson

from skyferry.ledgers import codec, rules
from skyferry.ledgers.codec import pack_json
from skyferry.model import ObjectRef, Provider
from skyferry.ports import Clock, Page
from skyferry.ports.ledger.held_deletes import Decision, HeldDelete, HeldFilter
from skyferry.sql import load_statements
from skyferry.sqlite.file import SqliteFile
from skyferry.sqlite.statements import write_rows

SQL = load_statements(__package__, "held_deletes.sql")
FIRST = 2**63 - 1  # above every serial
CONDITIONS = {
    "state": "state = :state",
    "store": "store = :store",
    "reason": "reason = :reason",
    "route": "EXISTS (SELECT 1 FROM json_each(routes) WHERE value = :route)",
    "prefix": "substr(key, 1, length(:prefix)) = :prefix",
    "at": "at = :at",
    "ids": "id IN (SELECT value FROM json_each(:ids))",
}


class SqliteHeldDeletes:
    """The `HeldDeletes` and `SourceIdentities` parts of a ledger."""

    _file: SqliteFile
    _clock: Clock

    async def get_identity(self, source: str) -> str:
        found = await self._file.read(lambda db: db.execute(SQL["get_identity"], {"source": source}).fetchone())
        return str(found[0]) if found else ""

    async def set_identity(self, source: str, identity: str) -> None:
        values = {"source": source, "identity": identity}
        await self._file.write(lambda db: db.execute(SQL["set_identity"], values).close())

    async def hold_deletes(self, deletes: Sequence[HeldDelete]) -> int:
        return await self._file.write(lambda db: _hold(db, deletes), announce=True)

    async def list_held_deletes(self, where: HeldFilter, cursor: str = "", limit: int = 100) -> Page[HeldDelete]:
        before = int(cursor) if cursor.isdecimal() else FIRST
        rows = await self._file.read(lambda db: _list(db, where, before, limit + 1))
        page = rows[:limit]
        return Page([_unpack(row) for row in page], str(page[-1][0]) if len(rows) > limit else "")

    async def count_held_deletes(self) -> list[tuple[str, str, int]]:
        return await self._file.read(lambda db: db.execute(SQL["count"]).fetchall())

    async def find_held_deletes(self, ids: Sequence[str]) -> set[str]:
        names = {"ids": pack_json(list(ids))}
        return set(orjson.loads(await self._file.read(lambda db: db.execute(SQL["find"], names).fetchone()[0])))

    async def approve_deletes(self, where: HeldFilter, ids: Collection[str] | None = None) -> int:
        return await self._decide("approved", where, ids)

    async def reject_deletes(self, where: HeldFilter, ids: Collection[str] | None = None) -> int:
        return await self._decide("rejected", where, ids)

    async def list_approved_deletes(self, limit: int) -> list[HeldDelete]:
        def operation(db: sqlite3.Connection) -> list[Any]:
            return list(orjson.loads(db.execute(SQL["list_approved"], {"limit": limit}).fetchone()[0]))

        return [_unpack(row) for row in await self._file.find_announced("approved", operation)]

    async def forget_deletes(self, ids: Sequence[str]) -> int:
        if not await self.find_held_deletes(ids):
            return 0  # called for each page of a listing: no transaction if none is known
        names = {"ids": pack_json(list(ids))}
        return await self._file.write(lambda db: db.execute(SQL["forget"], names).rowcount)

    async def _decide(self, state: Decision, where: HeldFilter, ids: Collection[str] | None) -> int:
        now = rules.to_ticks(self._clock.time())
        return await self._file.write(lambda db: _decide(db, state, where, ids, now), announce=True)


def _hold(db: sqlite3.Connection, deletes: Sequence[HeldDelete]) -> int:
    def row(held: HeldDelete) -> tuple[Any, ...]:
        s = held.source
        named = (held.id, held.state, held.store, held.reason, rules.to_ticks(held.at))
        return (*named, s.provider, s.bucket, s.key, pack_json(held.routes))

    before = db.execute(SQL["size"]).fetchone()[0]
    write_rows(db, SQL["hold"], [row(held) for held in deletes])
    return int(db.execute(SQL["size"]).fetchone()[0] - before)


def _list(db: sqlite3.Connection, where: HeldFilter, before: int, limit: int) -> list[Any]:
    chosen, names = _make_condition(where, None)
    query = SQL["list"].replace(":chosen", chosen)
    found: list[Any] = orjson.loads(db.execute(query, names | {"before": before, "limit": limit}).fetchone()[0])
    return found


def _decide(db: sqlite3.Connection, state: Decision, where: HeldFilter, ids: Collection[str] | None, now: int) -> int:
    chosen, names = _make_condition(where, ids)
    names |= {"from": pack_json(rules.DECIDED_FROM[state]), "to": state, "now": now}
    db.execute(SQL["forget_identities"].replace(":chosen", chosen), names)
    return db.execute(SQL["decide"].replace(":chosen", chosen), names).rowcount


def _make_condition(where: HeldFilter, ids: Collection[str] | None) -> tuple[str, dict[str, Any]]:
    """Return the condition, made of constants only, and its values."""
    names = {
        "state": where.state,
        "store": where.store,
        "reason": where.reason,
        "route": where.route,
        "prefix": where.prefix,
        "at": None if where.at is None else rules.to_ticks(where.at),
        "ids": None if ids is None else pack_json(list(ids)),
    }
    given = {name: value for name, value in names.items() if value not in (None, "")}
    return " AND ".join(CONDITIONS[name] for name in given) or "1", given


def _unpack(row: Sequence[Any]) -> HeldDelete:
    _, state, store, reason, at, decided, provider, bucket, key, routes = row
    source = ObjectRef(Provider(provider), bucket, key)
    decided_at = None if decided is None else codec.to_seconds(decided)
    return HeldDelete(source, store, tuple(routes), reason, codec.to_seconds(at), state, decided_at)
