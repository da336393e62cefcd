"""Ledgers on a real PostgreSQL, whose time a test can make pass."""

from __future__ import annotations

import os
from itertools import count

from skyferry.clouds.credentials import fixed_credentials
from skyferry.errors import LedgerError
from skyferry.ledgers.postgres.database import HISTORY
from skyferry.ledgers.postgres.ledger import PostgresLedger, open_ledger
from skyferry.postgres.address import parse_postgres
from skyferry.postgres.pool import PoolOptions, PostgresPool
from skyferry.postgres.schema import apply_next_step
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

    def __init__(self, server: PostgresServer, database: str = "postgres", schema: str = "") -> None:
        """By default the schema is a new one."""
        self.server, self.database = server, database
        self.schema = schema or f"ledger_{os.getpid()}_{next(SCHEMAS)}"
        self.opened: list[PostgresLedger] = []
        self._clock = self.pool()

    def pool(self, user: str = "", password: str = "", application: str = "skyferry") -> PostgresPool[LedgerError]:
        """Return connections to the database."""
        url = f"postgresql://{user or self.server.user}@{self.server.address}/{self.database}?schema={self.schema}"
        address = parse_postgres(url, FORM, names=0, allow_plain=False)
        options = PoolOptions(address, connect_timeout=5, application=application)
        return PostgresPool("ledger", options, fixed_credentials(password or self.server.password), LedgerError)

    async def open(self, owner: str, lease: float = 30.0) -> PostgresLedger:
        ledger = await open_ledger(self.pool(), owner, lease)
        self.opened.append(ledger)
        return ledger

    async def contract(self) -> None:
        """Apply all steps, as `skyferry ledger migrate` does once no older program is left."""
        while await self._clock.run(lambda db: apply_next_step(db, self.schema, HISTORY, contract=True)):
            pass

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

    async def stop_clock(self) -> None:
        """End the connection of the clock, which counts as one of an older program. It is made again when it is needed."""
        await self._clock.close()
        self._clock = self.pool()

    async def close(self) -> None:
        """All of them, and what they have recorded."""
        for ledger in self.opened:
            await ledger.close()
        await self._clock.run(lambda db: db.execute(f"DROP SCHEMA IF EXISTS {self.schema} CASCADE"))
        await self._clock.close()
