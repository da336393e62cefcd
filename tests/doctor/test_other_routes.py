"""Workers that run with other routes than a configuration, before the first worker with it starts."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from skyferry.config.settings import Settings
from skyferry.doctor.check import CheckState
from skyferry.doctor.ledger.records import check_records
from skyferry.observe import MetricsObserver
from skyferry.testing.servers import PostgresServer, RedisServer
from skyferry.wiring import Opener, build_service


@pytest.mark.parametrize("engine", ["sqlite", "redis", "postgres"])
async def test_running_workers_with_other_routes_are_noticed(
    engine: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """In each engine; workers that are alike are not mentioned."""
    (tmp_path / "a").mkdir()
    route = {"name": "r", "from": "a", "to": "b"}
    document = {
        "workspace": tmp_path,
        "stores": {"a": {"url": "file://a"}, "b": {"url": "file://b"}},
        "routes": [route],
        "queues": [{"name": "q", "url": "sqlite://q.db"}],
        "ledger": {"url": find_url(engine, request)},
    }
    one = Settings.model_validate(document)
    two = Settings.model_validate(document | {"routes": [route | {"filter": {"prefix": "x/"}}]})
    async with build_service(one, MetricsObserver(CollectorRegistry())) as service, asyncio.TaskGroup() as running:
        running.create_task(service.run())
        while not (await service.ledger.list_workers()).items:
            await asyncio.sleep(0.01)
        assert await check_records(Opener(one)) == []
        (check,) = await check_records(Opener(two))
        assert (check.name, check.state) == ("workers", CheckState.UNKNOWN)
        assert "the same configuration" in check.hint
        service.drain()


def find_url(engine: str, request: pytest.FixtureRequest) -> str:
    """Return the URL of a new ledger."""
    if engine == "redis":
        redis: RedisServer = request.getfixturevalue("redis_server")
        return f"redis://{redis.address}/other-routes"
    if engine == "postgres":
        postgres: PostgresServer = request.getfixturevalue("postgres_server")
        request.getfixturevalue("monkeypatch").setenv("PGPASSWORD", postgres.password)
        return f"postgresql://{postgres.user}@{postgres.address}/{postgres.create_database()}"
    return "sqlite://ledger.db"
