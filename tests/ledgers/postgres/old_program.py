"""Releases that knew older versions of the ledger in PostgreSQL: their tables, and their statements as they ran them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.ledgers.postgres.places import PostgresHarness

from skyferry.ledgers import codec
from skyferry.ledgers.postgres.conditions import encode_key
from skyferry.ledgers.postgres.database import HISTORY
from skyferry.model import Transfer
from skyferry.ports import Done
from skyferry.postgres.schema import complete_statement, ensure_schema

VERSION_1, VERSION_4 = (Path(__file__).parent / name for name in ("version_1", "version_4"))
LEASE = 30 * 2**22  # ticks


def read_statements(folder: Path) -> dict[str, str]:
    """Return the statements of a release by name."""
    _, *sections = (folder / "claims.sql").read_text().split("-- name: ")
    return {name: sql for name, _, sql in (section.partition("\n") for section in sections)}


async def make_schema(harness: PostgresHarness) -> None:
    """Make the tables, as that release did."""
    pool = harness.pool()
    sql = "CREATE SCHEMA @schema;" + (VERSION_1 / "schema.sql").read_text()
    await pool.run(lambda db: db.execute(complete_statement(sql, harness.schema)))
    await pool.close()


class OldProgram:
    """A worker of the release that knew version 1. Each call is one of its transactions."""

    statements = read_statements(VERSION_1)

    @staticmethod
    async def make_schema(harness: PostgresHarness) -> None:
        await make_schema(harness)

    def __init__(self, harness: PostgresHarness) -> None:
        self._pool, self._schema, self._me = harness.pool(), harness.schema, 0

    async def enter(self, name: str) -> None:
        """Check the version as that release did, and register."""
        comment = f"SELECT obj_description('{self._schema}.transfers'::regclass, 'pg_class')"
        said: str = await self._pool.run(lambda db: db.fetchval(comment))
        assert int(said.rpartition(" ")[2]) <= 1, said  # compatible from 1
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
        sql = complete_statement(self.statements[name], self._schema)
        rows: list[Any] = await self._pool.run(lambda db: db.fetch(sql, *values))
        return rows


class ProgramOfVersion4(OldProgram):
    """A worker of the release that knew version 4. It adds a destination by the statement that leases it."""

    statements = read_statements(VERSION_4)

    @staticmethod
    async def make_schema(harness: PostgresHarness) -> None:
        """Apply the steps of that release."""
        steps = tuple(step for step in HISTORY.steps if step.number <= 4)
        pool = harness.pool()
        await pool.run(lambda db: ensure_schema(db, harness.schema, replace(HISTORY, steps=steps)))
        await pool.close()

    async def claim(self, t: Transfer) -> int:
        found = await self._run("lock", [encode_key(t.key)], [t.store])
        assert not found or found[0]["owner"] == 0, "it is leased"
        assert not await self._run("look", [bytes.fromhex(t.id)])
        known = found[0]["id"] if found else None
        [[_, place, fence]] = await self._run("lease", self._me, LEASE, [known], [True], [encode_key(t.key)], [t.store])
        added = [bytes.fromhex(t.id)], [place], [t.route], [None], [codec.pack_transfer(t)]
        await self._run("claim", self._me, *added, [], [], [1, 0, 0, 0, 0, 0])
        return int(fence)
