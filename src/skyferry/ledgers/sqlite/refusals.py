"""Events that no route takes on SQLite, as functions of a connection."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

import orjson

from skyferry.ledgers import rules
from skyferry.ledgers.sqlite import codec
from skyferry.ledgers.sqlite.codec import pack
from skyferry.model import Change
from skyferry.ports import Refusal
from skyferry.sqlite.statements import named, write

SQL = named("refusals.sql")


def migrate(db: sqlite3.Connection) -> None:
    """Bring the letters of an older file to what `schema.sql` says."""
    if not any(column[1] == "bucket" for column in db.execute("PRAGMA table_info(letters)")):
        db.execute(SQL["add_bucket"])
    db.execute(SQL["letters_by_bucket"])


def refuse(db: sqlite3.Connection, refusals: Sequence[Refusal]) -> None:
    """See `Ledger.refuse`."""
    write(db, SQL["refuse"], [(r.source.key, _bucket(r), rules.ticks(r.at), _pack(r)) for r in refusals])


def refusals(db: sqlite3.Connection, key: str) -> list[Refusal]:
    """See `Ledger.refusals`."""
    return [_unpack(text) for text in orjson.loads(db.execute(SQL["refusals"], {"key": key}).fetchone()[0])]


def unrouted(db: sqlite3.Connection, limit: int) -> list[tuple[str, int]]:
    """See `Ledger.unrouted`."""
    return db.execute(SQL["unrouted"], {"limit": limit}).fetchall()


def prune(db: sqlite3.Connection, before: int, limit: int) -> int:
    """Forget refusals from before; how many."""
    return db.execute(SQL["prune"], {"before": before, "limit": limit}).rowcount


def _bucket(refusal: Refusal) -> str:
    return f"{refusal.source.provider}://{refusal.source.bucket}"


def _pack(r: Refusal) -> str:
    return pack((codec.pack_ref(r.source), r.change, r.event_id, r.occurred_at, r.at, r.rules))


def _unpack(text: str) -> Refusal:
    source, change, event_id, occurred_at, at, rules_ = orjson.loads(text)
    told = tuple((route, rule) for route, rule in rules_)
    return Refusal(codec.unpack_ref(source), Change(change), event_id, occurred_at, at, told)
