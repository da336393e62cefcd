"""Open uploads on PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from functools import partial
from typing import Any

from skyferry.ledgers import codec
from skyferry.ledgers.postgres.claims.snapshot import Destination, LockedPlace
from skyferry.ledgers.postgres.conditions import decode_key
from skyferry.ledgers.postgres.database import LedgerDatabase, LedgerSession
from skyferry.model import Progress
from skyferry.sql import load_statements

SQL = load_statements(__package__, "uploads.sql")
PAGE = 1000  # uploads read at once


class PostgresUploads:
    """The `UploadLog` part of a ledger, except for `save_progress`, which is a write under a claim."""

    _db: LedgerDatabase

    async def list_uploads(self) -> AsyncIterator[Progress]:
        at, serial, more = -1, 0, True
        while more:
            rows = await self._db.read(partial(_read_page, at=at, serial=serial))
            for serial, at, store, key, progress, age in rows:  # noqa: B007 - the last ones begin the next page
                yield codec.unpack_progress(store, decode_key(key), age, progress, [])
            more = len(rows) == PAGE

    async def close_uploads(self, store: str, ids: Sequence[str]) -> None:
        await self._db.write(lambda db: db.execute(SQL["close"], store, list(ids)))


async def _read_page(db: LedgerSession, at: int, serial: int) -> list[Any]:
    return await db.fetch(SQL["page"], at, serial, PAGE)


async def record_progress(db: LedgerSession, saves: Sequence[tuple[int, Progress]]) -> None:
    """Record uploads and their parts, by destination."""
    latest = {(place, p.upload.id): codec.pack_progress(p) for place, p in saves}
    if latest:
        places, names = zip(*latest, strict=True)
        await db.execute(SQL["save"], list(places), list(names), list(latest.values()))
    parts = {(place, p.upload.id, part.number): codec.pack_part(part) for place, p in saves for part in p.parts}
    if parts:
        columns = map(list, zip(*parts, strict=True))
        await db.execute(SQL["save_parts"], *columns, list(parts.values()))


async def read_open_uploads(
    db: LedgerSession, places: Mapping[Destination, LockedPlace]
) -> dict[int, tuple[Progress, ...]]:
    """Return the open uploads to each destination, the latest last."""
    names = {at.id: name for name, at in places.items()}
    found: dict[int, tuple[Progress, ...]] = {}
    for place, progress, age, parts in await db.fetch(SQL["of_places"], list(names)):
        found[place] = (*found.get(place, ()), codec.unpack_progress(*names[place], age, progress, parts))
    return found
