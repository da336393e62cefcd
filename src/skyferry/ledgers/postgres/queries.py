"""Queries of transfers and placements on PostgreSQL.

Without a key, the newest of each state are merged (`transfers_by_state`). A key, or a prefix of few keys, is looked up. A prefix
of many keys is found soon by walking the newest. Routes and reasons are compared on the way.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from skyferry.ledgers import codec, rules
from skyferry.ledgers.codec import NUMBER, STATES
from skyferry.ledgers.postgres.conditions import SqlConditions, above, decode_key, encode_key, to_ticks
from skyferry.ledgers.postgres.database import LedgerDatabase, LedgerSession
from skyferry.model import Failure, ObjectMeta, ObjectRef, Placement, State
from skyferry.ports import Filter, Page, TransferRow
from skyferry.ports.joins import select_current
from skyferry.sql import load_statements

SQL = load_statements(__package__, "queries.sql")
FEW = 5000  # keys that may be looked up one by one
PAGE = 1000  # keys that `list_placements` reads at once
COLUMNS = "t.transfer, t.state, t.reason, t.burned, t.lost, t.created_at, t.updated_at, t.due_at, t.receipt"
_KEYS = "SELECT id FROM @schema.places WHERE key >= ? AND key < ?"
_TEST_KEY = "EXISTS (SELECT FROM @schema.places AS p WHERE p.id = t.place AND p.key >= ? AND p.key < ?)"
_SAME_KEY = "t.place = ANY(ARRAY(SELECT p.id FROM @schema.places AS p WHERE p.key = ?))"
_SOURCE = f"(t.source_key = ? OR t.source_key IS NULL AND {_SAME_KEY})"


class PostgresQueries:
    """The `Transfers` and `Placements` parts of a ledger."""

    _db: LedgerDatabase

    async def get_transfer(self, transfer_id: str) -> TransferRow | None:
        try:
            id_ = bytes.fromhex(transfer_id)
        except ValueError:
            return None

        async def get(db: LedgerSession) -> TransferRow | None:
            if (found := await db.fetchrow(SQL["get"], id_)) is None:
                return None
            failures = await read_failures(db, [id_])
            return replace(codec.unpack_row(*found), failures=tuple(failures.get(transfer_id, ())))

        return await self._db.read(get)

    async def find_ids(self, prefix: str, limit: int) -> list[str]:
        if (span := codec.span_ids(prefix)) is None:
            return []
        rows = await self._db.read(lambda db: db.fetch(SQL["ids"], *span, limit))
        return [id_.hex() for (id_,) in rows]

    async def list_transfers(self, where: Filter, cursor: str = "", limit: int = 100) -> Page[TransferRow]:
        at, serial = rules.parse_cursor(cursor) if cursor else rules.NEWEST
        behind = [max(-(2**63), min(number, 2**63 - 1)) for number in (at, serial)]
        return await self._db.read(lambda db: _list(db, where, behind, limit))

    async def count_transfers(self) -> dict[State, int]:
        rows = dict(await self._db.read(lambda db: db.fetch(SQL["counts"])))
        return {state: rows.get(NUMBER[state], 0) for state in State}

    async def find_oldest_unsettled(self) -> dict[str, float]:
        rows = await self._db.read(lambda db: db.fetch(SQL["oldest_unsettled"]))
        return {route: codec.unpack_transfer(text).occurred_at for route, text in rows}

    async def get_placements(self, store: str, keys: Sequence[str]) -> list[Placement | None]:
        if not keys:
            return []
        wanted = [encode_key(key) for key in keys]
        found = dict(await self._db.read(lambda db: db.fetch(SQL["placements"], store, wanted)))
        return [
            codec.unpack_placement(store, key, found[packed]) if packed in found else None
            for key, packed in zip(keys, wanted, strict=True)
        ]

    async def find_current(self, store: str, source: ObjectRef, listed: Sequence[tuple[ObjectMeta, str]]) -> set[str]:
        return select_current(await self.get_placements(store, [key for _, key in listed]), source, listed)

    async def list_placements(self, store: str, source: str, after: str = "") -> AsyncIterator[Placement]:
        start, more = encode_key(after), True
        while more:
            rows = await self._db.read(partial(_read_placed, store=store, after=start, source=source))
            for key, packed in rows:
                start = key
                if packed is not None:
                    yield codec.unpack_placement(store, decode_key(key), packed)
            more = len(rows) == PAGE


async def _read_placed(db: LedgerSession, store: str, after: bytes, source: str) -> list[Any]:
    return await db.fetch(SQL["placed"], store, after, source, PAGE)


async def _list(db: LedgerSession, where: Filter, behind: Sequence[int], limit: int) -> Page[TransferRow]:
    """List by key if it is given and matches few, else by time. Each state is walked in its own index."""
    low = encode_key(where.key_prefix)
    lookup = bool(where.source_key) or (bool(low) and await db.fetchval(SQL["few"], low, above(low), FEW + 1) <= FEW)
    found = SqlConditions(*behind, limit + 1)
    found.add("(t.updated_at, t.serial) < ($1, $2)")
    found.add("t.updated_at >= ?", to_ticks(where.since), when=where.since is not None)
    found.add("t.updated_at < ?", to_ticks(where.until), when=where.until is not None)
    idle = "t.updated_at <= @schema.ledger_now() - ? AND coalesce(t.due_at, 0) <= @schema.ledger_now() - ?"
    found.add(idle, to_ticks(where.idle), to_ticks(where.idle), when=bool(where.idle))
    found.add("t.route = ?", where.route, when=bool(where.route))
    found.add("t.reason = ?", where.reason, when=bool(where.reason))
    found.add(_SOURCE, *[encode_key(where.source_key)] * 2, when=bool(where.source_key))
    by_key = f"t.place = ANY(ARRAY({_KEYS}))" if lookup and not where.source_key else _TEST_KEY
    found.add(by_key, low, above(low), when=bool(low))
    states = [NUMBER[state] for state in STATES if where.state in (None, state)]
    tests = [f"t.state IN ({', '.join(map(str, states))})"] if lookup else [f"t.state = {state}" for state in states]
    newest = "ORDER BY t.updated_at DESC, t.serial DESC LIMIT $3"
    parts = (f"(SELECT t.* FROM @schema.transfers AS t WHERE {test} AND {found} {newest})" for test in tests)  # noqa: S608 - constants
    statement = f"SELECT t.serial, {COLUMNS} FROM ({' UNION ALL '.join(parts)}) AS t {newest}"  # noqa: S608 - constants
    rows = await db.fetch(statement, *found.values)
    page = rows[:limit]
    more = rules.make_cursor(page[-1]["updated_at"], page[-1]["serial"]) if len(rows) > limit else ""
    return Page([codec.unpack_row(*list(row)[1:]) for row in page], more)


async def read_failures(db: LedgerSession, ids: Sequence[bytes]) -> dict[str, list[Failure]]:
    """Return the failures of transfers by id."""
    found: dict[str, list[Failure]] = {}
    rows: list[Any] = await db.fetch(SQL["failures"], list(ids))
    for id_, failure in rows:
        found.setdefault(id_.hex(), []).append(codec.unpack_failure(failure))
    return found
