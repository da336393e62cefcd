"""Open uploads on SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Collection, Sequence
from functools import partial

import orjson

from skyferry.ledgers import codec, rules
from skyferry.ledgers.codec import pack_json
from skyferry.model import Progress
from skyferry.ports import Clock
from skyferry.sql import load_statements
from skyferry.sqlite.file import SqliteFile
from skyferry.sqlite.statements import write_rows

SQL = load_statements(__package__, "uploads.sql")
PAGE = 1000  # uploads read at once
START = (-1, 0)  # before the first time and serial


class SqliteUploads:
    """The `UploadLog` part of a ledger, except for `save_progress`, which is a write under a claim."""

    _file: SqliteFile
    _clock: Clock

    async def list_uploads(self) -> AsyncIterator[Progress]:
        page = partial(_page, limit=PAGE, now=rules.to_ticks(self._clock.time()))
        found, end = await self._file.read(partial(page, after=START))
        while found:
            for progress in found:
                yield progress
            found, end = await self._file.read(partial(page, after=end))

    async def close_uploads(self, store: str, ids: Sequence[str]) -> None:
        names = {"store": store, "ids": pack_json(ids)}
        await self._file.write(lambda db: db.execute(SQL["close"], names).close())


def record_progress(db: sqlite3.Connection, saves: Sequence[tuple[int, Progress]], now: float) -> None:
    """Record uploads and their parts, by destination."""
    at = rules.to_ticks(now)
    write_rows(db, SQL["save_uploads"], [(place, p.upload.id, at, codec.pack_progress(p)) for place, p in saves])
    parts = [(place, p.upload.id, part.number, codec.pack_part(part)) for place, p in saves for part in p.parts]
    write_rows(db, SQL["save_parts"], parts)


def of_destinations(db: sqlite3.Connection, destinations: Collection[int], now: int) -> dict[int, tuple[Progress, ...]]:
    """Return the open uploads to each destination, the latest last. `now` is in ticks."""
    found: dict[int, tuple[Progress, ...]] = {}
    rows = orjson.loads(db.execute(SQL["of_destinations"], {"places": pack_json(list(destinations))}).fetchone()[0])
    for destination, store, key, saved_at, progress, parts in rows:
        found[destination] = (
            *found.get(destination, ()),
            codec.unpack_progress(store, key, now - saved_at, progress, parts),
        )
    return found


def close_of_destinations(db: sqlite3.Connection, closed: Sequence[tuple[int, str]]) -> None:
    """Forget uploads, by destination and upload id."""
    write_rows(db, SQL["close_of_destinations"], closed)


def _page(
    db: sqlite3.Connection, after: tuple[int, int], limit: int, now: int
) -> tuple[list[Progress], tuple[int, int]]:
    """Return uploads ordered by (time of the last save, serial), without parts, and the position of the last."""
    names = {"at": after[0], "serial": after[1], "limit": limit}
    rows = orjson.loads(db.execute(SQL["page"], names).fetchone()[0])
    found = [
        codec.unpack_progress(store, key, now - saved_at, progress, []) for _, store, key, saved_at, progress in rows
    ]
    return found, (rows[-1][3], rows[-1][0]) if rows else after
