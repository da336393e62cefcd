"""A queue's file from outside: it is read without being created, brought up to date or registered with."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

from skyferry.errors import QueueError
from skyferry.ports import Clock, Depth
from skyferry.queues.sqlite.queue import HISTORY, read_depth
from skyferry.sqlite.file import translate_error
from skyferry.sqlite.readonly import DurableFile, read_unchanged
from skyferry.sqlite.schema import read_schema_version


class SqliteQueueFile(DurableFile):
    """A `DurableQueue`."""

    def __init__(self, path: Path, clock: Clock) -> None:
        super().__init__(path)
        self._clock = clock

    async def read_depth(self) -> Depth:
        """See `DurableQueue`."""
        return await asyncio.to_thread(self._read_depth)

    def _read_depth(self) -> Depth:
        try:
            return read_unchanged(self.path, self._query_depth)
        except (sqlite3.Error, OSError) as error:
            raise translate_error(error, QueueError, self.path) from error

    def _query_depth(self, db: sqlite3.Connection) -> Depth:
        at = read_schema_version(db, HISTORY, self.where)
        HISTORY.check_compatible(at, self.where)
        return read_depth(db, self._clock.time()) if at.number else Depth(0, 0, 0, 0.0)
