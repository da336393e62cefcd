"""Listings on SQLite: filters as conditions, and which index to walk.

Without a key, the newest of each state are merged (`transfers_by_state`). A key or a prefix that few keys have is looked up
(`places_by_key`); one that many have is found soon by walking the newest. Routes and reasons are compared on the way.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import orjson

from skyferry.ledgers import rules
from skyferry.ledgers.sqlite import claims, codec
from skyferry.ledgers.sqlite.codec import NUMBER, STATES, pack
from skyferry.model import Receipt, State
from skyferry.ports import DeadLetter, Filter, Page, TransferRow
from skyferry.sqlite.statements import named

SQL = named("queries.sql")
FEW = 5000  # keys that may be looked up one by one
Found = list[tuple[int, int]]  # time and serial


def values(where: Filter, **more: Any) -> dict[str, Any]:
    """What the conditions name."""
    return {
        "route": where.route,
        "low": where.key_prefix,
        "high": _above(where.key_prefix),
        "source": where.source_key,
        "reason": where.reason,
        "since": None if where.since is None else rules.ticks(where.since),
        "until": None if where.until is None else rules.ticks(where.until),
        **more,
    }


def letter_conditions(where: Filter, ids: Sequence[str] | None = None) -> str:
    """On the table `letters`; `:ids` is a JSON array."""
    tests = (
        ("0", where.state not in (None, State.DEAD)),
        ("route = :route", where.route),
        ("key >= :low AND key < :high", where.key_prefix),
        ("source_key = :source", where.source_key),
        ("reason = :reason", where.reason),
        ("at >= :since", where.since is not None),
        ("at < :until", where.until is not None),
        ("id IN (SELECT value FROM json_each(:ids))", ids is not None),
    )
    return " AND ".join(["1", *(sql for sql, wanted in tests if wanted)])


def transfers(db: sqlite3.Connection, where: Filter, cursor: str, limit: int) -> Page[TransferRow]:
    """See `Ledger.transfers`."""
    at, serial = rules.behind(cursor) if cursor else (2**63 - 1, 2**63 - 1)
    named_values = values(where, at=at, serial=serial, limit=limit + 1)
    if where.source_key or (where.key_prefix and _few(db, named_values)):
        found = _select(db, "+t.state IN (SELECT value FROM json_each(:states))", "", where, named_values, lookup=True)
    else:
        index = "INDEXED BY transfers_by_state"
        found = []
        for state in _states(where):
            found += _select(db, f"t.state = {state}", index, where, named_values, lookup=False)
    found.sort(reverse=True)
    page = found[:limit]
    more = rules.cursor(*page[-1]) if len(found) > limit else ""
    return Page(rows(db, [serial for _, serial in page]), more)


def _states(where: Filter) -> list[int]:
    return [NUMBER[state] for state in STATES if where.state in (None, state)]


def _few(db: sqlite3.Connection, named_values: dict[str, Any]) -> bool:
    found: int = db.execute(SQL["few"], {**named_values, "limit": FEW + 1}).fetchone()[0]
    return found <= FEW


def _select(
    db: sqlite3.Connection, state: str, index: str, where: Filter, named_values: dict[str, Any], *, lookup: bool
) -> Found:
    """The newest behind `:at` and `:serial`; `lookup`: the conditions on keys lead, else the order of time does."""
    time = "+t.updated_at" if lookup else "t.updated_at"
    tests = (
        (f"{time} <= :at AND (+t.updated_at, t.serial) < (:at, :serial)", True),
        (f"{time} >= :since", where.since is not None),
        (f"{time} < :until", where.until is not None),
        ("t.route = :route", where.route),
        ("t.reason = :reason", where.reason),
        (_LOOKUP_SOURCE, where.source_key),
        (_LOOKUP_KEY if lookup and not where.source_key else _TEST_KEY, where.key_prefix),
    )
    conditions = " AND ".join([state, *(sql for sql, wanted in tests if wanted)])
    statement = (
        "SELECT json_group_array(json_array(at, serial)) FROM ("  # noqa: S608 - made of the constants above
        f"SELECT t.updated_at AS at, t.serial AS serial FROM transfers AS t {index} WHERE {conditions} "
        f"ORDER BY t.updated_at DESC, t.serial DESC LIMIT :limit)"
    )
    found = orjson.loads(db.execute(statement, {**named_values, "states": pack(_states(where))}).fetchone()[0])
    return [(at, serial) for at, serial in found]


_LOOKUP_KEY = "t.place IN (SELECT id FROM places WHERE key >= :low AND key < :high)"
_TEST_KEY = "EXISTS (SELECT 1 FROM places AS p WHERE p.id = t.place AND p.key >= :low AND p.key < :high)"
_LOOKUP_SOURCE = (
    "t.serial IN (SELECT serial FROM transfers WHERE source_key = :source UNION ALL "
    "SELECT x.serial FROM places AS p JOIN transfers AS x ON x.place = p.id WHERE p.key = :source AND x.source_key IS NULL)"
)


def transfer(db: sqlite3.Connection, high: int, low: int) -> TransferRow | None:
    """See `Ledger.transfer`."""
    found = db.execute(SQL["serial"], {"high": high, "low": low}).fetchone()
    if found is None:
        return None
    (row,) = rows(db, found)
    return replace(row, failures=tuple(claims.tell(db, found)[found[0]]))


def rows(db: sqlite3.Connection, serials: Sequence[int]) -> list[TransferRow]:
    """Transfers, without their failures."""
    found = orjson.loads(db.execute(SQL["transfers"], {"batch": pack(serials)}).fetchone()[0])
    return [_row(*fields) for fields in found]


def _row(
    transfer: str,
    number: int,
    reason: str,
    burned: int,
    lost: int,
    created: int,
    updated: int,
    due: int | None,
    *last: str,
) -> TransferRow:
    state = STATES[number]
    receipt: Receipt | None = codec.unpack_receipt(last[0]) if last[0] else None
    return TransferRow(
        codec.unpack_transfer(transfer),
        state,
        reason,
        burned + (state in rules.COUNTED),
        lost,
        codec.seconds(created),
        codec.seconds(updated),
        None if due is None else codec.seconds(due),
        receipt,
    )


def letters(db: sqlite3.Connection, where: Filter, cursor: str, limit: int) -> Page[DeadLetter]:
    """See `Ledger.dead_letters`."""
    at, serial = rules.behind(cursor) if cursor else (2**63 - 1, 2**63 - 1)
    statement = (
        "SELECT json_group_array(json_array(at, serial, letter, redriven_at)) FROM ("  # noqa: S608 - constants, above
        f"SELECT * FROM letters WHERE at <= :at AND (at, serial) < (:at, :serial) AND {letter_conditions(where)} "
        "ORDER BY at DESC, serial DESC LIMIT :limit)"
    )
    found = db.execute(statement, values(where, at=at, serial=serial, limit=limit + 1)).fetchone()[0]
    items = orjson.loads(found)
    page = items[:limit]
    more = rules.cursor(*page[-1][:2]) if len(items) > limit else ""
    return Page([codec.unpack_letter(letter, redriven) for _, _, letter, redriven in page], more)


def _above(prefix: str) -> str:
    """What sorts behind every key with this prefix."""
    for length in range(len(prefix), 0, -1):
        if (last := ord(prefix[length - 1])) < 0x10FFFF:
            return prefix[: length - 1] + chr(0xE000 if last == 0xD7FF else last + 1)
    return "\U0010ffff" * 1025
