"""What becomes of dead letters on SQLite, as functions of a connection: redriven, discarded, published."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

import orjson

from skyferry.ledgers import rules
from skyferry.ledgers.sqlite import claims, codec, queries
from skyferry.ledgers.sqlite.codec import NUMBER, pack
from skyferry.model import State
from skyferry.ports import DeadLetter, Filter
from skyferry.ports.letter_attributes import Death
from skyferry.sqlite.statements import write

CLAIMED, RETRY, DEAD, DISCARDED = (NUMBER[s] for s in (State.CLAIMED, State.RETRY, State.DEAD, State.DISCARDED))


def redrive(db: sqlite3.Connection, where: Filter, ids: Sequence[str] | None, now: int) -> int:
    """See `Ledger.redrive`."""
    chosen = f"redriven_at IS NULL AND {queries.letter_conditions(where, ids)}"
    names = queries.values(where, ids=pack(ids), now=now)
    moved = db.execute(
        "UPDATE transfers SET state = 1, due_at = :now, updated_at = :now, burned = 0, lost = 0 "  # noqa: S608 - constants
        f"WHERE state = 4 AND serial IN (SELECT transfer FROM letters WHERE {chosen})",
        names,
    ).rowcount
    claims.count(db, {f"state {DEAD}": -moved, f"state {RETRY}": moved})
    marked = f"UPDATE letters SET redriven_at = :now, hidden_until = :now WHERE {chosen}"  # noqa: S608 - constants
    return db.execute(marked, names).rowcount


def discard(db: sqlite3.Connection, where: Filter, ids: Sequence[str] | None, now: int) -> int:
    """See `Ledger.discard`."""
    in_hand = "EXISTS (SELECT 1 FROM transfers AS t WHERE t.serial = letters.transfer AND t.state = 0)"
    chosen = f"NOT {in_hand} AND {queries.letter_conditions(where, ids)}"
    names = queries.values(where, ids=pack(ids), now=now)
    for state in (DEAD, RETRY):
        moved = db.execute(
            "UPDATE transfers SET state = 5, due_at = NULL, updated_at = :now "  # noqa: S608 - constants
            f"WHERE state = {state} AND serial IN (SELECT transfer FROM letters WHERE {chosen})",
            names,
        ).rowcount
        claims.count(db, {f"state {state}": -moved, f"state {DISCARDED}": moved})
    return db.execute(f"DELETE FROM letters WHERE {chosen}", names).rowcount  # noqa: S608 - constants


def ready(db: sqlite3.Connection, now: int, limit: int) -> list[Any]:
    """Redriven letters that nobody has in hand: serial, letter, when it was redriven."""
    found: list[Any] = orjson.loads(db.execute(queries.SQL["ready"], {"now": now, "limit": limit}).fetchone()[0])
    return found


def take(db: sqlite3.Connection, now: int, limit: int, until: int) -> list[DeadLetter]:
    """See `Ledger.take_redriven`."""
    found = ready(db, now, limit)
    db.execute(queries.SQL["hide"], {"batch": pack([serial for serial, _, _ in found]), "until": until})
    return [codec.unpack_letter(letter, redriven_at) for _, letter, redriven_at in found]


def finish(db: sqlite3.Connection, deaths: Sequence[Death], again: int | None) -> None:
    """See `Ledger.finish_redriven`."""
    named = [(death.id, rules.ticks(death.at)) for death in deaths]
    if again is None:
        write(db, queries.SQL["finish"], named)
    else:
        write(db, queries.SQL["again"], [(*each, again) for each in named])


def migrate(db: sqlite3.Connection) -> None:
    """Bring the letters of an older file to what `schema.sql` says. All of them are unpublished then."""
    if not any(column[1] == "publish_at" for column in db.execute("PRAGMA table_info(letters)")):
        db.execute(queries.SQL["add_publish_at"])
    db.execute(queries.SQL["letters_unpublished"])


def unpublished(db: sqlite3.Connection, now: int, limit: int) -> list[Any]:
    """Letters that wait to be published and that nobody has in hand: serial, letter."""
    found: list[Any] = orjson.loads(db.execute(queries.SQL["unpublished"], {"now": now, "limit": limit}).fetchone()[0])
    return found


def publish(db: sqlite3.Connection, now: int, limit: int, until: int) -> list[DeadLetter]:
    """See `Ledger.take_unpublished`."""
    found = unpublished(db, now, limit)
    db.execute(queries.SQL["publishing"], {"batch": pack([serial for serial, _ in found]), "until": until})
    return [codec.unpack_letter(letter, None) for _, letter in found]


def published(db: sqlite3.Connection, letters: Sequence[DeadLetter], again: int | None) -> None:
    """See `Ledger.published`."""
    write(db, queries.SQL["published"], [(letter.id, rules.ticks(letter.at), again) for letter in letters])
