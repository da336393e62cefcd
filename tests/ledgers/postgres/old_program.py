"""The release that knew version 1 of the ledger in PostgreSQL: its tables, and its statements as it ran them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.ledgers.postgres.places import PostgresHarness

from skyferry.ledgers import codec
from skyferry.ledgers.postgres.conditions import encode_key
from skyferry.model import Transfer
from skyferry.ports import Done
from skyferry.postgres.schema import complete_statement

VERSION_1 = Path(__file__).parent / "version_1"
_, *SECTIONS = (VERSION_1 / "claims.sql").read_text().split("-- name: ")
SQL = {name: sql for name, _, sql in (section.partition("\n") for section in SECTIONS)}
LEASE = 30 * 2**22  # ticks


async def make_schema(harness: PostgresHarness) -> None:
    """Make the tables, as that release did."""
    pool = harness.pool()
    sql = "CREATE SCHEMA @schema;" + (VERSION_1 / "schema.sql").read_text()
    await pool.run(lambda db: db.execute(complete_statement(sql, harness.schema)))
    await pool.close()


class OldProgram:
    """A worker of that release. Each call is one of its transactions."""

    def __init__(self, harness: PostgresHarness) -> None:
        self._pool, self._schema, self._me = harness.pool(), harness.schema, 0

    async def enter(self, name: str) -> None:
        """Check the version as that release did, and register."""
        comment = f"SELECT obj_description('{self._schema}.transfers'::regclass, 'pg_class')"
        said: str = await self._pool.run(lambda db: db.fetchval(comment))
        assert int(said.rpartition(" ")[2]) <= 1, said
        [[self._me]] = await self._run("enter", name)

    async def claim(self, t: Transfer) -> int:
        """Claim a new transfer. Return its fence."""
        keys = [encode_key(t.key)], [t.store]
        await self._run("add_places", *keys)
        [[_, _, place, owner, *_]] = await self._run("lock", *keys)
        assert owner == 0, "it is leased"
        assert not await self._run("look", [bytes.fromhex(t.id)])
        added = [bytes.fromhex(t.id)], [place], [t.route], [None], [codec.pack_transfer(t)]
        counts = [1, 0, 0, 0, 0, 0]
        [[_, fence]] = await self._run("claim", self._me, LEASE, [place], [True], *added, [], [], counts)
        return int(fence)

    async def settle(self, t: Transfer, fence: int, outcome: Done) -> None:
        """Settle a claimed transfer as done."""
        [[_, _, place, owner, held, *_]] = await self._run("lock", [encode_key(t.key)], [t.store])
        assert (owner, held) == (self._me, fence)
        settled = [bytes.fromhex(t.id)], [2], [""], [None], [0], [codec.pack_receipt(outcome.receipt)]
        placed = [place], [True], [codec.pack_placement(outcome.placement)], [t.source.bucket]
        counts = [-1, 0, 1, 0, 0, 0]
        await self._run("settle", self._me, *settled, *placed, [], [], [], [], counts)

    async def close(self) -> None:
        await self._run("leave", self._me)
        await self._pool.close()

    async def _run(self, name: str, *values: Any) -> list[Any]:
        sql = complete_statement(SQL[name], self._schema)
        rows: list[Any] = await self._pool.run(lambda db: db.fetch(sql, *values))
        return rows
