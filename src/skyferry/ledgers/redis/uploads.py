"""Open uploads on Redis."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from skyferry.ledgers import codec
from skyferry.ledgers.redis.database import RedisDatabase
from skyferry.ledgers.redis.records import split_place
from skyferry.model import Progress

PAGE = 1000  # uploads read at once


class RedisUploads:
    """The `UploadLog` part of a ledger, except for `save_progress`, which is a write under a claim."""

    _db: RedisDatabase

    async def list_uploads(self) -> AsyncIterator[Progress]:
        at, serial, more = -1, 0, True
        while more:
            rows = await self._db.run("uploads.list", at, serial, PAGE)
            for at, serial, name, age, text in rows:  # noqa: B007 - the last ones begin the next page
                yield codec.unpack_progress(*split_place(name), age, text.decode(), [])
            more = len(rows) == PAGE

    async def close_uploads(self, store: str, ids: Sequence[str]) -> None:
        if ids:
            await self._db.run("uploads.close", store, *ids)
