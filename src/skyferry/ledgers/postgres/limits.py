"""Shared rates and breakers in PostgreSQL. Each call is one statement."""

from __future__ import annotations

from typing import Any

from skyferry.ledgers.postgres.database import LedgerDatabase
from skyferry.ports import OpenBreaker
from skyferry.sql import load_statements

SQL = load_statements(__package__, "limits.sql")


class PostgresLimits:
    """The `SharedRates` and `SharedBreakers` parts of a ledger."""

    owner: str
    _db: LedgerDatabase

    async def reserve_units(self, name: str, units: float, rate: float, burst: float) -> float:
        ((delay,),) = await self._run("reserve", name, units, rate, burst)
        return float(delay)

    async def list_breakers(self) -> list[OpenBreaker]:
        return [OpenBreaker(*row) for row in await self._run("list_breakers")]

    async def open_breaker(self, name: str, side: str, seconds: float, cooldown: float) -> int:
        ((opening,),) = await self._run("open", name, side, seconds, cooldown)
        return int(opening)

    async def take_trial(self, name: str, opening: int, lease: float) -> bool:
        return bool(await self._run("take_trial", self.owner, name, opening, lease))

    async def close_breaker(self, name: str, opening: int) -> None:
        await self._run("close", name, opening)

    async def _run(self, statement: str, *values: object) -> list[Any]:
        return await self._db.read_apart(lambda db: db.fetch(SQL[statement], *values))
