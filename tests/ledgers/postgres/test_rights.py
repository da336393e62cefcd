"""A worker's role that lacks rights on some tables: one clear and stable problem, with the grant that mends it."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from skyferry.config.settings import Settings
from skyferry.doctor.check import CheckState
from skyferry.doctor.examine import Scope, examine
from skyferry.records import Record
from skyferry.status import Readiness
from skyferry.testing.servers import PostgresServer
from skyferry.wiring import Opener, build_service

PASSWORD = "of the role"


@dataclass
class Database:
    """A ledger whose owner has applied all steps, and a role that has rights on all of its tables but some."""

    server: PostgresServer
    name: str
    role: str
    records: list[Record] = field(default_factory=list)

    def run(self, sql: str) -> None:
        self.server.run(sql, self.name)

    def on(self, record: Record) -> None:
        self.records.append(record)

    def settings(self, folder: Path, user: str) -> Settings:
        for name in ("a", "b"):
            (folder / name).mkdir(exist_ok=True)
        return Settings.model_validate(
            {
                "workspace": folder,
                "stores": {
                    "a": {"url": "file://a"},
                    "b": {"url": "sim://b", "shared_limits": True, "requests_per_second": 50},
                },
                "routes": [{"name": "r", "from": "a", "to": "b"}],
                "queues": [{"name": "q", "url": "sqlite://q.db"}],
                "ledger": {"url": f"postgresql://{user}@{self.server.address}/{self.name}"},
            }
        )

    def events(self, *names: str) -> list[Record]:
        return [record for record in self.records if record.event in names]


@pytest.fixture
def database(postgres_server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    made = Database(postgres_server, postgres_server.create_database(), f"worker_{secrets.token_hex(4)}")

    async def create() -> None:
        maintenance = Opener(made.settings(tmp_path, postgres_server.user)).ledger_maintenance()
        assert maintenance is not None
        assert [step async for step in maintenance.migrate()]

    monkeypatch.setenv("PGPASSWORD", postgres_server.password)
    asyncio.run(create())
    made.run(f"""CREATE ROLE {made.role} LOGIN PASSWORD '{PASSWORD}'; GRANT USAGE ON SCHEMA skyferry TO {made.role};
    GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA skyferry TO {made.role};
    GRANT USAGE ON ALL SEQUENCES IN SCHEMA skyferry TO {made.role}""")
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    yield made
    made.run(f"DROP OWNED BY {made.role}; DROP ROLE {made.role}")


def find_wrong(readiness: Readiness) -> list[tuple[str, str, str]]:
    return [(c.name, c.state, c.message) for c in readiness.checks if c.state != "ok"]


async def test_without_rights_on_the_limits_the_work_goes_on(database: Database, tmp_path: Path) -> None:
    """The worker keeps limits of its own, says so once, and is degraded; nothing alternates. The grant in the hint ends it."""
    database.run(
        f"REVOKE ALL ON skyferry.rates FROM {database.role}; REVOKE INSERT ON skyferry.breakers FROM {database.role}"
    )
    wanted = database.settings(tmp_path, database.role)
    (wrong,) = [c for c in await examine(wanted, Scope(write=False)) if c.state is CheckState.WRONG]
    assert wrong.name == "settings"
    assert (
        wrong.detail
        == f"the role {database.role} lacks SELECT, INSERT, UPDATE, DELETE on tables breakers, rates of schema skyferry"
    )
    grant = wrong.hint.partition(": ")[2]
    assert grant == (
        f'GRANT SELECT, INSERT, UPDATE, DELETE ON "skyferry"."breakers", "skyferry"."rates" TO "{database.role}";'
    )
    async with build_service(wanted, database) as service, asyncio.timeout(90):
        running = asyncio.create_task(service.run())
        for number in range(3):
            (tmp_path / "a" / f"{number}").write_bytes(b"x")
        while len(database.events("transfer.done")) < 3:
            await asyncio.sleep(0.05)
        begun = asyncio.get_running_loop().time()
        while asyncio.get_running_loop().time() - begun < 3.5:  # as long as it would take to alternate
            checks = find_wrong(await service.ready())
            assert [(name, state) for name, state, _ in checks] == [("shared_limits", "degraded")], checks
            assert "tables breakers, rates" in checks[0][2]
            assert grant in checks[0][2]
            await asyncio.sleep(0.05)
        assert not database.events("health.failing", "health.restored", "shared_limits.restored")
        (fallback,) = database.events("shared_limits.fallback")
        assert grant in fallback.hint
        database.run(grant)
        while not database.events("shared_limits.restored"):
            await asyncio.sleep(0.05)
        assert not find_wrong(await service.ready())
        service.drain()
        await running


@pytest.mark.parametrize("what", ["SCHEMA skyferry", "SEQUENCE skyferry.fences"])
async def test_rights_on_the_schema_and_its_sequence_are_named(what: str, database: Database, tmp_path: Path) -> None:
    """Once, before they are needed, with the grant."""
    database.run(f"REVOKE ALL ON {what} FROM {database.role}")
    wanted = database.settings(tmp_path, database.role)
    (wrong,) = [c for c in await examine(wanted, Scope(write=False)) if c.state is CheckState.WRONG]
    named = what.lower().replace("skyferry.fences", "fences of schema skyferry")
    assert wrong.detail == f"the role {database.role} lacks USAGE on {named}"
    grant = wrong.hint.partition(": ")[2]
    assert grant.startswith(f'GRANT USAGE ON {what.split()[0]} "skyferry"')
    database.run(grant)
    assert [c for c in await examine(wanted, Scope(write=False)) if c.state is CheckState.WRONG] == []


async def test_a_role_with_too_few_connections_is_named(database: Database, tmp_path: Path) -> None:
    database.run(f"ALTER ROLE {database.role} CONNECTION LIMIT 3")
    wanted = database.settings(tmp_path, database.role)
    (wrong,) = [c for c in await examine(wanted, Scope(write=False)) if c.state is CheckState.WRONG]
    assert "of 3 connections of the role are in use" in wrong.detail
    assert "ALTER ROLE" in wrong.hint


async def test_without_rights_on_another_table_the_ledger_is_down(database: Database, tmp_path: Path) -> None:
    """Heartbeats fail and claims succeed. The condition is one, until the rights are granted."""
    wanted = database.settings(tmp_path, database.role)
    async with build_service(wanted, database) as service, asyncio.timeout(90):
        running = asyncio.create_task(service.run())
        while find_wrong(await service.ready()):
            await asyncio.sleep(0.05)
        database.run(f"REVOKE ALL ON skyferry.workers FROM {database.role}")
        while not database.events("health.failing"):
            await asyncio.sleep(0.05)
        (tmp_path / "a" / "k").write_bytes(b"x")
        while not database.events("transfer.done"):
            await asyncio.sleep(0.05)
        (ledger,) = [c for c in (await service.ready()).checks if c.part == "ledger"]
        assert ledger.state == "down"
        assert f'GRANT SELECT, INSERT, UPDATE, DELETE ON "skyferry"."workers" TO "{database.role}";' in ledger.message
        assert len(database.events("health.failing")) == 1
        assert not database.events("health.restored")
        database.run(f"GRANT ALL ON skyferry.workers TO {database.role}")
        while not database.events("health.restored"):
            await asyncio.sleep(0.05)
        assert len(database.events("health.failing")) == 1
        service.drain()
        await running
