"""Shared rates and breakers on SQLite. Nothing of them is flushed to the disk: a power failure ends every worker of the file."""

from __future__ import annotations

import sqlite3
from typing import Any

import orjson

from skyferry.ledgers import rules
from skyferry.ledgers.rates import SharedRate, reserve
from skyferry.ports import Clock, OpenBreaker
from skyferry.sql import load_statements
from skyferry.sqlite.file import SqliteFile

SQL = load_statements("skyferry.ledgers.sqlite", "limits.sql")


class SqliteLimits:
    """The `SharedRates` and `SharedBreakers` parts of a ledger."""

    owner: str
    _file: SqliteFile
    _clock: Clock

    async def reserve_units(self, name: str, units: float, rate: float, burst: float) -> float:
        def operation(db: sqlite3.Connection) -> float:
            now = self._clock.time()  # in turn: reservations of two processes do not pass each other
            row = db.execute(SQL["read_rate"], {"name": name}).fetchone()
            after, delay = reserve(SharedRate(*row) if row else None, units, rate, burst, now)
            values = {"name": name, "at": after.at, "ahead": after.ahead, "rate": after.rate}
            db.execute(SQL["write_rate"], values)
            return delay

        return await self._file.write(operation, flush=False)

    async def list_breakers(self) -> list[OpenBreaker]:
        values = {"now": self._clock.time()}
        text = await self._file.read(lambda db: db.execute(SQL["list_breakers"], values).fetchone()[0])
        return [OpenBreaker(*row) for row in orjson.loads(text)]

    async def open_breaker(self, name: str, side: str, seconds: float, cooldown: float) -> int:
        opening = rules.to_ticks(self._clock.time())
        rows = await self._write("open", name=name, opening=opening, side=side, seconds=seconds, cooldown=cooldown)
        return int(rows[0][0])

    async def take_trial(self, name: str, opening: int, lease: float) -> bool:
        return bool(await self._write("take_trial", owner=self.owner, name=name, opening=opening, lease=lease))

    async def close_breaker(self, name: str, opening: int) -> None:
        await self._write("close", name=name, opening=opening)

    async def _write(self, statement: str, **values: object) -> list[Any]:
        """Run a statement, and return its rows."""
        values["now"] = self._clock.time()
        return await self._file.write(lambda db: db.execute(SQL[statement], values).fetchall(), flush=False)
