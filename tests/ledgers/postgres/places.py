"""Ledgers on a real PostgreSQL, whose time a test can make pass."""

from __future__ import annotations

import os
from itertools import count

from skyferry.clouds.credentials import fixed_credentials
from skyferry.errors import LedgerError
from skyferry.ledgers.postgres.ledger import PostgresLedger, open_ledger
from skyferry.postgres.address import parse_postgres
from skyferry.postgres.pool import PoolOptions, PostgresPool
from skyferry.testing.ledger import LedgerHarness
from skyferry.testing.servers import PostgresServer

FORM = "postgresql://HOST/DATABASE"
SCHEMAS = count(1)
# `ledger_now` as the schema has it, with an offset in ticks
CLOCK = """CREATE TABLE IF NOT EXISTS {0}.passed (ticks bigint NOT NULL);
CREATE OR REPLACE FUNCTION {0}.ledger_now() RETURNS bigint LANGUAGE sql STABLE AS
$$ SELECT (extract(epoch FROM now()) * 4194304)::bigint + (SELECT coalesce(sum(ticks), 0)::bigint FROM {0}.passed) $$;
INSERT INTO {0}.passed VALUES ({1})"""


class PostgresHarness(LedgerHarness):
    """Ledgers in one schema."""

    def __init__(self, server: PostgresServer) -> None:
        self.server, self.schema = server, f"ledger_{os.getpid()}_{next(SCHEMAS)}"
        self.opened: list[PostgresLedger] = []
        self._clock = self.pool()

    def pool(self, user: str = "", password: str = "") -> PostgresPool[LedgerError]:
        """Return connections to the database."""
        url = f"postgresql://{user or self.server.user}@{self.server.address}/postgres?schema={self.schema}"
        options = PoolOptions(parse_postgres(url, FORM, names=0, allow_plain=False), connect_timeout=5)
        return PostgresPool("ledger", options, fixed_credentials(password or self.server.password), LedgerError)

    async def open(self, owner: str, lease: float = 30.0) -> PostgresLedger:
        ledger = await open_ledger(self.pool(), owner, lease)
        self.opened.append(ledger)
        return ledger

    async def pass_time(self, seconds: float) -> None:
        await self._clock.run(lambda db: db.execute(CLOCK.format(self.schema, round(seconds * 2**22))))

    async def set_time(self, ticks: int) -> None:
        """Stop the clock at a time."""
        body = f"$$ SELECT {ticks}::bigint $$"
        sql = f"CREATE OR REPLACE FUNCTION {self.schema}.ledger_now() RETURNS bigint LANGUAGE sql STABLE AS {body}"
        await self._clock.run(lambda db: db.execute(sql))

    async def now(self) -> float:
        ticks: int = await self._clock.run(lambda db: db.fetchval(f"SELECT {self.schema}.ledger_now()"))
        return ticks / 2**22

    async def close(self) -> None:
        """All of them, and what they have recorded."""
        for ledger in self.opened:
            await ledger.close()
        await self._clock.run(lambda db: db.execute(f"DROP SCHEMA IF EXISTS {self.schema} CASCADE"))
        await self._clock.close()
