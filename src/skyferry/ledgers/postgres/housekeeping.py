"""Health and pruning on PostgreSQL; refusals, held deletes and identities of sources."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import chain
from typing import Any

from skyferry.errors import LedgerError
from skyferry.ledgers import codec, rules
from skyferry.ledgers.postgres.conditions import decode_key, encode_key, select_held
from skyferry.ledgers.postgres.database import LedgerDatabase, LedgerSession
from skyferry.model import ObjectRef, Provider
from skyferry.ports import Page, Refusal
from skyferry.ports.ledger.held_deletes import Decision, HeldDelete, HeldFilter
from skyferry.sql import load_statements

SQL = load_statements(__package__, "housekeeping.sql")
COUNT = load_statements(__package__, "claims.sql")["count"]
FIRST = 2**63 - 1  # above every serial


class PostgresHousekeeping:
    """The `Housekeeping` and `RefusalLog` parts of a ledger."""

    owner: str
    _db: LedgerDatabase
    _me: int

    async def check_writable(self) -> None:
        await self._db.check_rights()
        if await self._db.read(lambda db: db.fetchval(SQL["is_read_only"])):
            raise LedgerError("the server is a read-only standby", hint="List all servers of the cluster in the URL.")

    async def prune(self, older_than: float, limit: int = 1000) -> int:
        return await self._db.write(lambda db: self._prune(db, rules.to_ticks(older_than), limit))

    async def _prune(self, db: LedgerSession, age: int, limit: int) -> int:
        pruned = dict(await db.fetch(SQL["prune_transfers"], age, limit))
        if not pruned:
            return int(await db.fetchval(SQL["prune_refusals"], age, limit))
        places = list({*chain.from_iterable(pruned.values())})
        locked = [row["id"] for row in await db.fetch(SQL["lock_places"], places)]
        await db.execute(SQL["prune_places"], locked)
        counts = [-len(pruned.get(number, ())) for number in range(len(codec.STATES))]
        await db.execute(COUNT, self._me, self.owner, counts)
        return -sum(counts)

    async def add_refusals(self, refusals: Sequence[Refusal]) -> None:
        if refusals:
            rows = [
                (encode_key(r.source.key), _bucket(r), rules.to_ticks(r.at), codec.pack_refusal(r)) for r in refusals
            ]
            await self._db.write(lambda db: db.execute(SQL["add_refusals"], *map(list, zip(*rows, strict=True))))

    async def list_refusals(self, key: str) -> list[Refusal]:
        rows = await self._db.read(lambda db: db.fetch(SQL["list_refusals"], encode_key(key)))
        return [codec.unpack_refusal(row["refusal"]) for row in rows]


class PostgresHeldDeletes:
    """The `HeldDeletes` and `SourceIdentities` parts of a ledger."""

    _db: LedgerDatabase

    async def get_identity(self, source: str) -> str:
        return str(await self._db.read(lambda db: db.fetchval(SQL["get_identity"], source)) or "")

    async def set_identity(self, source: str, identity: str) -> None:
        await self._db.write(lambda db: db.execute(SQL["set_identity"], source, identity))

    async def hold_deletes(self, deletes: Sequence[HeldDelete]) -> int:
        if not deletes:
            return 0
        columns = [list(column) for column in zip(*map(_pack_held, deletes), strict=True)]
        return len(await self._db.write(lambda db: db.fetch(SQL["hold"], *columns)))

    async def list_held_deletes(self, where: HeldFilter, cursor: str = "", limit: int = 100) -> Page[HeldDelete]:
        before = min(int(cursor), FIRST) if cursor.isdecimal() else FIRST
        chosen = select_held(where, None, before, limit + 1)
        query = SQL["list_held"].replace(":chosen", str(chosen))
        rows = await self._db.read(lambda db: db.fetch(query, *chosen.values))
        page = rows[:limit]
        return Page([_unpack_held(row) for row in page], str(page[-1]["serial"]) if len(rows) > limit else "")

    async def count_held_deletes(self) -> list[tuple[str, str, int]]:
        rows = await self._db.read(lambda db: db.fetch(SQL["count_held"]))
        return [(store, reason, count) for store, reason, count in rows]

    async def find_held_deletes(self, ids: Sequence[str]) -> set[str]:
        return {row["id"] for row in await self._db.read(lambda db: db.fetch(SQL["find_held"], list(ids)))}

    async def approve_deletes(self, where: HeldFilter, ids: Collection[str] | None = None) -> int:
        return await self._decide("approved", where, ids)

    async def reject_deletes(self, where: HeldFilter, ids: Collection[str] | None = None) -> int:
        return await self._decide("rejected", where, ids)

    async def list_approved_deletes(self, limit: int) -> list[HeldDelete]:
        rows = await self._db.read(lambda db: db.fetch(SQL["list_approved"], limit))
        return [_unpack_held(row) for row in rows]

    async def forget_deletes(self, ids: Sequence[str]) -> int:
        if not await self.find_held_deletes(ids):
            return 0  # called for each page of a listing: no transaction if none is known
        return len(await self._db.write(lambda db: db.fetch(SQL["forget_held"], list(ids))))

    async def _decide(self, state: Decision, where: HeldFilter, ids: Collection[str] | None) -> int:
        chosen = select_held(where, ids, state, list(rules.DECIDED_FROM[state]))
        query = SQL["decide"].replace(":chosen", str(chosen))
        return int(await self._db.write(lambda db: db.fetchval(query, *chosen.values)))


def _bucket(refusal: Refusal) -> bytes:
    return encode_key(f"{refusal.source.provider}://{refusal.source.bucket}")


def _pack_held(held: HeldDelete) -> tuple[Any, ...]:
    s = held.source
    named = (held.id, held.state, held.store, held.reason, rules.to_ticks(held.at))
    return (*named, str(s.provider), s.bucket, encode_key(s.key), "\n".join(held.routes))


def _unpack_held(row: Sequence[Any]) -> HeldDelete:
    _, state, store, reason, at, decided, provider, bucket, key, routes = row
    source = ObjectRef(Provider(provider), bucket, decode_key(key))
    decided_at = None if decided is None else codec.to_seconds(decided)
    return HeldDelete(source, store, tuple(routes), reason, codec.to_seconds(at), state, decided_at)
