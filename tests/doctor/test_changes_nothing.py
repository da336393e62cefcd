"""A diagnosis creates nothing at a server, and says what the first start creates there."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Any

import nats
import pytest
from tests.doctor.test_ledger_servers import open_redis, settings

from skyferry.config.settings import DeadLetterSettings, QueueSettings, Settings
from skyferry.doctor import Check, CheckState, Scope, examine
from skyferry.ledgers.postgres.database import HISTORY
from skyferry.testing.servers import NatsServer, PostgresServer, RedisServer
from skyferry.wiring import Opener

NAMES = count(1)


def use_server(ledger: str, queue: str, letters: str, folder: Path) -> Settings:
    wanted = settings(ledger, folder)
    queues = (QueueSettings(name="q", url=queue),)
    return wanted.model_copy(update={"queues": queues, "dead_letters": DeadLetterSettings(url=letters)})


async def diagnose(wanted: Settings) -> Mapping[tuple[str, str], Check]:
    checks = await examine(wanted, Scope(write=False))
    wrong = [check for check in checks if check.state is CheckState.WRONG]
    assert [check for check in wrong if not check.detail.startswith("appendfsync is everysec")] == []
    return {(check.kind, check.name): check for check in checks if check.where != "dead-letters"}


def make_database(server: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """Return the URL and the name of a new database."""
    monkeypatch.setenv("PGPASSWORD", server.password)
    database = server.create_database()
    return f"postgresql://{server.user}@{server.address}/{database}", database


async def test_a_database_without_the_schema(
    tmp_path: Path, postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, database = make_database(postgres_server, monkeypatch)
    found = await diagnose(use_server(url, f"{url}/q", f"{url}/dead", tmp_path))
    for kind in ("ledger", "queue"):
        assert "schema skyferry, whose tables the first start creates" in found[kind, "setup"].detail
    assert found["ledger", "usable"].state is CheckState.UNKNOWN
    assert "skyferry" not in postgres_server.run("SELECT nspname FROM pg_namespace", database).split()


async def test_a_ledger_of_an_older_version(
    tmp_path: Path, postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its schema stays, and its records are not read."""
    url, database = make_database(postgres_server, monkeypatch)
    wanted = use_server(url, f"{url}/q", f"{url}/dead", tmp_path)
    await (await Opener(wanted).ledger()).close()
    older = f"COMMENT ON TABLE skyferry.{HISTORY.marker} IS 'skyferry ledger {HISTORY.known - 1}, compatible from 1'"
    postgres_server.run(older, database)
    found = await diagnose(wanted)
    assert f"the next start applies {HISTORY.known:04} expand" in found["ledger", "setup"].detail
    assert found["ledger", "usable"].detail.startswith(f"its schema is {HISTORY.known - 1}")
    comment = f"SELECT obj_description('skyferry.{HISTORY.marker}'::regclass, 'pg_class')"
    found_comment = postgres_server.run(comment, database).strip()
    assert found_comment == f"skyferry ledger {HISTORY.known - 1}, compatible from 1"


async def test_a_redis_without_keys(tmp_path: Path, redis_server: RedisServer) -> None:
    name = f"diagnosed-{next(NAMES)}"
    url = f"redis://{redis_server.address}/{name}"
    wanted = use_server(f"{url}-l", url, f"{url}-dead", tmp_path)
    found = await diagnose(wanted)
    assert "stream and group skyferry, which the first start creates" in found["queue", "setup"].detail
    assert found["ledger", "usable"].detail.endswith("does not exist yet")
    client = open_redis(wanted)
    assert await client.run(lambda redis: redis.keys(f"*{name}*")) == []
    await client.close()


async def test_a_nats_without_streams(tmp_path: Path, nats_server: NatsServer) -> None:
    name = f"diagnosed-{next(NAMES)}"
    url = f"nats://{nats_server.address}/{name}/c?subject={name}"
    letters = f"nats://{nats_server.address}/{name}-dead/c?subject={name}-dead"
    found = await diagnose(use_server("sqlite://ledger.db", url, letters, tmp_path))
    assert "the first start creates stream and consumer" in found["queue", "setup"].detail
    client: Any = await nats.connect(nats_server.address)
    streams = {info.config.name for info in await client.jetstream().streams_info()}
    assert not [stream for stream in streams if stream.startswith(name)]
    await client.close()
    assert not (tmp_path / "ledger.db").exists()
