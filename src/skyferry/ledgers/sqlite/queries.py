"""Queries of transfers and placements on SQLite: filters as conditions, and the choice of index.

Without a key, the newest of each state are merged (`transfers_by_state`). A key, or a prefix of few keys, is looked up
(`places_by_key`). A prefix of many keys is found soon by walking the newest. Routes and reasons are compared on the way.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

import orjson

from skyferry.ledgers import codec, rules
from skyferry.ledgers.codec import NUMBER, STATES, pack_json
from skyferry.model import ObjectMeta, ObjectRef, Placement, State
from skyferry.ports import Clock, Filter, Page, TransferRow
from skyferry.regex import compile_lazily
from skyferry.sql import load_statements
from skyferry.sqlite.file import SqliteFile
from skyferry.sqlite.statements import read_rows

SQL = load_statements(__package__, "queries.sql")
FEW = 5000  # keys that may be looked up one by one
PAGE = 1000  # keys that `list_placements` reads at once
UNENCODABLE = compile_lazily("[\ud800-\udfff]")  # characters of a key that is no Unicode
Found = list[tuple[int, int]]  # time and serial


class SqliteQueries:
    """The `Transfers` and `Placements` parts of a ledger."""

    _file: SqliteFile
    _clock: Clock

    async def get_transfer(self, transfer_id: str) -> TransferRow | None:
        try:
            high, low = codec.split_id(transfer_id)
        except ValueError:
            return None
        return await self._file.read(lambda db: _get_transfer(db, high, low))

    async def find_ids(self, prefix: str, limit: int) -> list[str]:
        if (span := codec.span_ids(prefix)) is None:
            return []
        halves = zip(*(codec.split_id(end.hex()) for end in span), strict=True)
        # A half without a digit of the prefix spans no bit to all bits, 0 to -1: it may be any number
        (high, last_high), (low, last_low) = (pair if pair != (0, -1) else (-(2**63), 2**63 - 1) for pair in halves)
        values = {"high": high, "last_high": last_high, "low": low, "last_low": last_low, "limit": limit}
        found = await self._file.read(lambda db: db.execute(SQL["ids"], values).fetchall())
        return [codec.join_id(*halves) for halves in found]

    async def list_transfers(self, where: Filter, cursor: str = "", limit: int = 100) -> Page[TransferRow]:
        now = rules.to_ticks(self._clock.time())
        return await self._file.read(lambda db: list_transfers(db, where, cursor, limit, now))

    async def count_transfers(self) -> dict[State, int]:
        return await self._file.read(count_states)

    async def find_oldest_unsettled(self) -> dict[str, float]:
        query = SQL["oldest_unsettled"]
        return orjson.loads(await self._file.read(lambda db: db.execute(query).fetchone()[0]))  # type: ignore[no-any-return]  # as the query makes it

    async def get_placements(self, store: str, keys: Sequence[str]) -> list[Placement | None]:
        def operation(db: sqlite3.Connection) -> list[Placement | None]:
            pairs = zip(keys, _read_placements(db, store, keys), strict=True)
            return [codec.build_placement(store, key, fields) if fields else None for key, fields in pairs]

        return await self._file.read(operation)

    async def find_current(self, store: str, source: ObjectRef, listed: Sequence[tuple[ObjectMeta, str]]) -> set[str]:
        keys = [key for _, key in listed]

        def operation(db: sqlite3.Connection) -> set[str]:
            pairs = zip(listed, _read_placements(db, store, keys), strict=True)
            return {
                key for (meta, key), fields in pairs if fields and codec.is_current(store, key, fields, source, meta)
            }

        return await self._file.read(operation)

    async def list_placements(self, store: str, source: str, after: str = "") -> AsyncIterator[Placement]:
        start, count = after, PAGE
        while count == PAGE:
            start, count, found = await self._read_page(store, source, start)
            for placement in found:
                yield placement

    async def _read_page(self, store: str, source: str, start: str) -> tuple[str, int, list[Placement]]:
        """Read a page of keys behind `start`. Return its last key, its size, and the placements copied from `source`."""
        names = {"store": store, "bucket": source, "after": start, "limit": PAGE}

        def operation(db: sqlite3.Connection) -> tuple[str, int, list[Placement]]:
            last, count, found = db.execute(SQL["placed"], names).fetchone()
            return last, count, [codec.unpack_placement(store, key, packed) for key, packed in orjson.loads(found)]

        return await self._file.read(operation)


def count_states(db: sqlite3.Connection) -> dict[State, int]:
    """Return the number of transfers in each state."""
    numbers = {int(number): count for number, count in orjson.loads(db.execute(SQL["counts"]).fetchone()[0])}
    return {state: numbers.get(NUMBER[state], 0) for state in State}


def name_values(where: Filter, now: int, **more: Any) -> dict[str, Any]:
    """Return the values of the names in conditions. `now` is in ticks."""
    return {
        "route": where.route,
        "low": where.key_prefix,
        "high": _above(where.key_prefix),
        "source": where.source_key,
        "reason": where.reason,
        "since": None if where.since is None else rules.to_ticks(where.since),
        "until": None if where.until is None else rules.to_ticks(where.until),
        "now": now,
        "idle_since": now - rules.to_ticks(where.idle),
        **more,
    }


def list_transfers(db: sqlite3.Connection, where: Filter, cursor: str, limit: int, now: int) -> Page[TransferRow]:
    """See `Transfers.list_transfers`."""
    at, serial = rules.parse_cursor(cursor) if cursor else rules.NEWEST
    values = name_values(where, now, at=at, serial=serial, limit=limit + 1)
    if where.source_key or (where.key_prefix and _are_few(db, values)):
        found = _select(db, "+t.state IN (SELECT value FROM json_each(:states))", "", where, values, lookup=True)
    else:
        index = "INDEXED BY transfers_by_state"
        found = []
        for state in _states(where):
            found += _select(db, f"t.state = {state}", index, where, values, lookup=False)
    found.sort(reverse=True)
    page = found[:limit]
    more = rules.make_cursor(*page[-1]) if len(found) > limit else ""
    return Page(_read_rows(db, [serial for _, serial in page]), more)


def _states(where: Filter) -> list[int]:
    return [NUMBER[state] for state in STATES if where.state in (None, state)]


def _are_few(db: sqlite3.Connection, values: dict[str, Any]) -> bool:
    found: int = db.execute(SQL["few"], {**values, "limit": FEW + 1}).fetchone()[0]
    return found <= FEW


def _select(
    db: sqlite3.Connection, state: str, index: str, where: Filter, values: dict[str, Any], *, lookup: bool
) -> Found:
    """Return the newest behind `:at` and `:serial`. With `lookup` SQLite searches by key, without by time."""
    time = "+t.updated_at" if lookup else "t.updated_at"
    tests = (
        (f"{time} <= :at AND (+t.updated_at, t.serial) < (:at, :serial)", True),
        (f"{time} >= :since", where.since is not None),
        (f"{time} < :until", where.until is not None),
        (f"{time} <= :idle_since AND ifnull(t.due_at, 0) <= :idle_since", where.idle),
        ("t.route = :route", where.route),
        ("t.reason = :reason", where.reason),
        (_LOOKUP_SOURCE, where.source_key),
        (_LOOKUP_KEY if lookup and not where.source_key else _TEST_KEY, where.key_prefix),
    )
    conditions = " AND ".join([state, *(sql for sql, wanted in tests if wanted)])
    statement = (
        "SELECT json_group_array(json_array(at, serial)) FROM ("  # noqa: S608 - constants, above
        f"SELECT t.updated_at AS at, t.serial AS serial FROM transfers AS t {index} WHERE {conditions} "
        f"ORDER BY t.updated_at DESC, t.serial DESC LIMIT :limit)"
    )
    found = orjson.loads(db.execute(statement, {**values, "states": pack_json(_states(where))}).fetchone()[0])
    return [(at, serial) for at, serial in found]


_LOOKUP_KEY = "t.place IN (SELECT id FROM places WHERE key >= :low AND key < :high)"
_TEST_KEY = "EXISTS (SELECT 1 FROM places AS p WHERE p.id = t.place AND p.key >= :low AND p.key < :high)"
_LOOKUP_SOURCE = (
    "t.serial IN (SELECT serial FROM transfers WHERE source_key = :source UNION ALL "
    "SELECT x.serial FROM places AS p JOIN transfers AS x ON x.place = p.id WHERE p.key = :source AND x.source_key IS NULL)"
)


def _read_placements(db: sqlite3.Connection, store: str, keys: Sequence[str]) -> list[Any]:
    """Return the packed placement of each key, in order; None where there is none, as of a key that is no Unicode."""
    try:
        return read_rows(db, SQL["placements"], [(key, store) for key in keys])
    except UnicodeEncodeError:
        return read_rows(db, SQL["placements"], [("" if UNENCODABLE.search(key) else key, store) for key in keys])


def _get_transfer(db: sqlite3.Connection, high: int, low: int) -> TransferRow | None:
    found = db.execute(SQL["serial"], {"high": high, "low": low}).fetchone()
    if found is None:
        return None
    (row,) = _read_rows(db, found)
    return replace(row, failures=tuple(read_failures(db, found)[found[0]]))


def _read_rows(db: sqlite3.Connection, serials: Sequence[int]) -> list[TransferRow]:
    found = orjson.loads(db.execute(SQL["transfers"], {"batch": pack_json(serials)}).fetchone()[0])
    return [codec.unpack_row(*fields) for fields in found]


def read_failures(db: sqlite3.Connection, serials: Sequence[int]) -> dict[int, list[Any]]:
    """Return the failures of transfers by serial."""
    found: dict[int, list[Any]] = {serial: [] for serial in serials}
    for serial, failure in orjson.loads(db.execute(SQL["failures"], {"serials": pack_json(serials)}).fetchone()[0]):
        found[serial].append(codec.unpack_failure(failure))
    return found


def _above(prefix: str) -> str:
    """Return the smallest text that sorts behind every key with this prefix."""
    for length in range(len(prefix), 0, -1):
        if (last := ord(prefix[length - 1])) < 0x10FFFF:
            return prefix[: length - 1] + chr(0xE000 if last == 0xD7FF else last + 1)
    return "\U0010ffff" * 1025
