"""Dead letters on SQLite: kept, redriven, discarded, leased to be redriven or published."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

import orjson

from skyferry.ledgers import codec, rules
from skyferry.ledgers.codec import NUMBER, pack_json
from skyferry.ledgers.sqlite.batch import change_counts
from skyferry.ledgers.sqlite.queries import name_values
from skyferry.model import State
from skyferry.ports import Clock, DeadLetter, DeadLetterRef, Filter, Page, Purpose
from skyferry.ports.ledger.dead_letters import parse_source_bucket, parse_source_key
from skyferry.sql import load_statements
from skyferry.sqlite.file import SqliteFile
from skyferry.sqlite.statements import write_rows

SQL = load_statements(__package__, "dead_letters.sql")
CLAIMED, RETRY, DEAD, DISCARDED = (NUMBER[s] for s in (State.CLAIMED, State.RETRY, State.DEAD, State.DISCARDED))


class SqliteDeadLetters:
    """The `DeadLetters` and `LetterLeases` parts of a ledger."""

    _file: SqliteFile
    _clock: Clock

    async def add_dead_letters(self, letters: Sequence[DeadLetter]) -> None:
        await self._file.write(
            lambda db: insert_letters(db, [(None, rules.reset_letter(letter)) for letter in letters])
        )

    async def get_dead_letter(self, letter_id: str) -> DeadLetter | None:
        def operation(db: sqlite3.Connection) -> DeadLetter | None:
            found = db.execute(SQL["get"], {"id": letter_id}).fetchone()
            return codec.unpack_letter(*found) if found else None

        return await self._file.read(operation)

    async def list_dead_letters(self, where: Filter, cursor: str = "", limit: int = 100) -> Page[DeadLetter]:
        now = rules.to_ticks(self._clock.time())
        return await self._file.read(lambda db: _list(db, where, cursor, limit, now))

    async def count_dead_letters(self) -> list[tuple[str, str, int]]:
        return await self._file.read(lambda db: db.execute(SQL["count"]).fetchall())

    async def count_unrouted(self, limit: int = 20) -> list[tuple[str, int]]:
        return await self._file.read(lambda db: db.execute(SQL["count_unrouted"], {"limit": limit}).fetchall())

    async def count_redriven(self) -> int:
        return await self._file.read(lambda db: int(db.execute(SQL["count_redriven"]).fetchone()[0]))

    async def redrive(self, where: Filter, ids: Sequence[str] | None = None) -> int:
        now = rules.to_ticks(self._clock.time())
        return await self._file.write(lambda db: _redrive(db, where, ids, now), announce=True)

    async def discard(self, where: Filter, ids: Sequence[str] | None = None) -> int:
        now = rules.to_ticks(self._clock.time())
        return await self._file.write(lambda db: _discard(db, where, ids, now))

    async def take_letters(self, purpose: Purpose, limit: int, lease: float) -> list[DeadLetter]:
        now = rules.to_ticks(self._clock.time())
        if purpose is Purpose.REDRIVE and not await self._file.find_announced("redriven", _find_redriven):
            return []  # called every second
        if not await self._file.read(lambda db: _find_due(db, purpose, now, 1)):
            return []  # no transaction if no letter is due
        return await self._file.write(lambda db: _take(db, purpose, now, limit, now + rules.to_ticks(lease)))

    async def finish_letters(self, purpose: Purpose, letters: Sequence[DeadLetterRef]) -> None:
        rows = [(ref.id, rules.to_ticks(ref.at)) for ref in letters]
        await self._file.write(lambda db: write_rows(db, SQL[f"finish_{purpose}"], rows))

    async def reschedule_letters(self, purpose: Purpose, letters: Sequence[DeadLetterRef], delay: float) -> None:
        until = rules.to_ticks(self._clock.time() + delay)
        rows = [(ref.id, rules.to_ticks(ref.at), until) for ref in letters]
        await self._file.write(lambda db: write_rows(db, SQL[f"reschedule_{purpose}"], rows))


def insert_letters(db: sqlite3.Connection, letters: Sequence[tuple[int | None, DeadLetter]]) -> None:
    """Write letters with the serials of their transfers. A letter of a known id is kept, but a redriven one is replaced."""
    db.execute(SQL["drop_redriven"], {"ids": pack_json([letter.id for _, letter in letters])})
    write_rows(db, SQL["add"], [_pack(serial, letter) for serial, letter in letters])


def _pack(serial: int | None, letter: DeadLetter) -> tuple[Any, ...]:
    at, source_key = rules.to_ticks(letter.at), parse_source_key(letter.source)
    bucket = parse_source_bucket(letter.source) if letter.reason == rules.UNROUTED else None
    return letter.id, serial, at, letter.route, letter.reason, letter.key, source_key, codec.pack_letter(letter), bucket


def _conditions(where: Filter, ids: Sequence[str] | None = None) -> str:
    """Return the condition on the table `letters`; `:ids` is a JSON array."""
    tests = (
        ("0", where.state not in (None, State.DEAD)),
        ("route = :route", where.route),
        ("key >= :low AND key < :high", where.key_prefix),
        ("source_key = :source", where.source_key),
        ("reason = :reason", where.reason),
        ("at >= :since", where.since is not None),
        ("at < :until", where.until is not None),
        ("at <= :idle_since", where.idle),
        ("id IN (SELECT value FROM json_each(:ids))", ids is not None),
    )
    return " AND ".join(["1", *(sql for sql, wanted in tests if wanted)])


def _list(db: sqlite3.Connection, where: Filter, cursor: str, limit: int, now: int) -> Page[DeadLetter]:
    at, serial = rules.parse_cursor(cursor) if cursor else rules.NEWEST
    statement = (
        "SELECT json_group_array(json_array(at, serial, letter, redriven_at)) FROM ("  # noqa: S608 - constants, above
        f"SELECT * FROM letters WHERE at <= :at AND (at, serial) < (:at, :serial) AND {_conditions(where)} "
        "ORDER BY at DESC, serial DESC LIMIT :limit)"
    )
    found = db.execute(statement, name_values(where, now, at=at, serial=serial, limit=limit + 1)).fetchone()[0]
    items = orjson.loads(found)
    page = items[:limit]
    more = rules.make_cursor(*page[-1][:2]) if len(items) > limit else ""
    return Page([codec.unpack_letter(letter, redriven) for _, _, letter, redriven in page], more)


def _redrive(db: sqlite3.Connection, where: Filter, ids: Sequence[str] | None, now: int) -> int:
    chosen = f"redriven_at IS NULL AND {_conditions(where, ids)}"
    values = name_values(where, now, ids=pack_json(ids))
    moved = db.execute(
        "UPDATE transfers SET state = 1, due_at = :now, updated_at = :now, burned = 0, lost = 0 "  # noqa: S608 - constants
        f"WHERE state = 4 AND serial IN (SELECT transfer FROM letters WHERE {chosen})",
        values,
    ).rowcount
    change_counts(db, {DEAD: -moved, RETRY: moved})
    marked = f"UPDATE letters SET redriven_at = :now, hidden_until = :now WHERE {chosen}"  # noqa: S608 - constants
    return db.execute(marked, values).rowcount


def _discard(db: sqlite3.Connection, where: Filter, ids: Sequence[str] | None, now: int) -> int:
    claimed = "EXISTS (SELECT 1 FROM transfers AS t WHERE t.serial = letters.transfer AND t.state = 0)"
    chosen = f"NOT {claimed} AND {_conditions(where, ids)}"
    values = name_values(where, now, ids=pack_json(ids))
    for state in (DEAD, RETRY):
        moved = db.execute(
            "UPDATE transfers SET state = 5, due_at = NULL, updated_at = :now "  # noqa: S608 - constants
            f"WHERE state = {state} AND serial IN (SELECT transfer FROM letters WHERE {chosen})",
            values,
        ).rowcount
        change_counts(db, {state: -moved, DISCARDED: moved})
    return db.execute(f"DELETE FROM letters WHERE {chosen}", values).rowcount  # noqa: S608 - constants


def _find_due(db: sqlite3.Connection, purpose: Purpose, now: int, limit: int) -> list[Any]:
    """Return serial, letter, and the time it was redriven."""
    found: list[Any] = orjson.loads(db.execute(SQL[f"find_{purpose}"], {"now": now, "limit": limit}).fetchone()[0])
    return found


def _find_redriven(db: sqlite3.Connection) -> list[int]:
    """Return [1] if a letter is to be processed again, now or later."""
    return [row[0] for row in db.execute(SQL["find_redriven"])]


def _take(db: sqlite3.Connection, purpose: Purpose, now: int, limit: int, until: int) -> list[DeadLetter]:
    found = _find_due(db, purpose, now, limit)
    db.execute(SQL[f"lease_{purpose}"], {"batch": pack_json([serial for serial, _, _ in found]), "until": until})
    return [codec.unpack_letter(letter, redriven_at) for _, letter, redriven_at in found]
