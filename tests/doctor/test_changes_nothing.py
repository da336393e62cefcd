"""A diagnosis creates nothing at a server, and says what the first start creates there."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import nats
import pytest
from tests.doctor.test_ledger_servers import open_redis, settings

from skyferry.config.settings import DeadLetterSettings, QueueSettings, Settings
from skyferry.doctor import Check, CheckState, Scope, examine
from skyferry.doctor.ledger import files
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


async def test_a_ledger_in_postgresql_that_exists(
    tmp_path: Path, postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even a sequence advances."""
    url, database = make_database(postgres_server, monkeypatch)
    wanted = use_server(url, f"{url}/q", f"{url}/dead", tmp_path)
    await (await Opener(wanted).ledger()).close()
    relations = (
        "SELECT c.relname FROM pg_class AS c WHERE relnamespace = 'skyferry'::regnamespace AND relkind IN ('r', 'S')"
    )
    names = postgres_server.run(relations, database).split()

    def read_all() -> list[str]:
        return [postgres_server.run(f"SELECT * FROM skyferry.{name}", database) for name in names]

    before = read_all()
    found = await diagnose(wanted)
    assert found["ledger", "whole"].state is CheckState.OK
    assert len(names) > 10
    assert read_all() == before


async def test_a_ledger_in_redis_that_exists(tmp_path: Path, redis_server: RedisServer) -> None:
    name = f"diagnosed-{next(NAMES)}"
    url = f"redis://{redis_server.address}/{name}"
    wanted = use_server(f"{url}-l", url, f"{url}-dead", tmp_path)
    await (await Opener(wanted).ledger()).close()
    client = open_redis(wanted)

    async def read_all() -> dict[bytes, bytes]:
        keys = await client.run(lambda redis: redis.keys(f"*{name}*"))
        return {key: await client.run(partial(_dump, key=key)) for key in keys}

    before = await read_all()
    found = await diagnose(wanted)
    assert found["ledger", "whole"].state is CheckState.OK
    assert before
    assert await read_all() == before
    await client.close()


async def _dump(redis: Any, key: bytes) -> Any:
    return await redis.dump(key)


async def test_a_file_that_is_too_large_to_be_read_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "QUICK", 0.0)
    wanted = use_server("sqlite://ledger.db", "sqlite://queue.db", "sqlite://dead.db", tmp_path)
    await (await Opener(wanted).ledger()).close()
    found = (await diagnose(wanted))["ledger", "whole"]
    assert (found.state, found.hint) == (CheckState.UNKNOWN, "`skyferry ledger check` reads all of it.")
    assert "too large to be read within" in found.detail


async def test_a_ledger_in_a_file_that_exists(tmp_path: Path) -> None:
    """No other file appears, and none of its bytes change."""
    wanted = use_server("sqlite://ledger.db", "sqlite://queue.db", "sqlite://dead.db", tmp_path)
    await (await Opener(wanted).ledger()).close()
    await Opener(wanted).queue().close()

    def read_all() -> dict[str, bytes]:
        return {str(path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    before = read_all()
    await diagnose(wanted)
    assert {path.rpartition("/")[2] for path in before} == {"ledger.db", "queue.db"}
    assert read_all() == before


@pytest.mark.parametrize("engine", ["postgresql", "redis", "sqlite"])
async def test_a_ledger_that_is_too_new(
    engine: str, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is a fault, and its records are not read."""
    url = "sqlite://ledger.db"
    if engine == "redis":
        url = f"redis://{request.getfixturevalue('redis_server').address}/diagnosed-{next(NAMES)}"
    if engine == "postgresql":
        url, database = make_database(request.getfixturevalue("postgres_server"), monkeypatch)
    wanted = settings(url, tmp_path)
    await (await Opener(wanted).ledger()).close()
    if engine == "redis":
        client = open_redis(wanted)
        counters = f"{{{url.rpartition('/')[2]}}}:ledger:counters"
        await client.run(lambda redis: redis.hset(counters, mapping={"version": 99, "compatible_from": 99}))
        await client.close()
    elif engine == "sqlite":
        with closing(sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)) as db:
            db.execute("UPDATE schema_version SET number = 99, compatible_from = 99")
    else:
        newer = f"COMMENT ON TABLE skyferry.{HISTORY.marker} IS 'skyferry ledger 99, compatible from 99'"
        request.getfixturevalue("postgres_server").run(newer, database)
    checks = await examine(wanted, Scope(write=False))
    wrong = [(c.kind, c.hint) for c in checks if c.state is CheckState.WRONG and "appendfsync" not in c.detail]
    assert wrong == [("ledger", "Update Skyferry on this machine.")]


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
