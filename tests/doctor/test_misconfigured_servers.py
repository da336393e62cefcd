"""Settings of servers that stop a fleet, or lose what was confirmed, are named before it starts."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Any

import nats as driver
import pytest
from nats.errors import Error as DriverError
from nats.js.api import AckPolicy, ConsumerConfig, StreamConfig
from tests.absent import absent
from tests.doctor.test_ledger_servers import open_redis

from skyferry.config.settings import Settings
from skyferry.doctor.check import Check, CheckState
from skyferry.doctor.examine import Scope, examine
from skyferry.redis.server_settings import find_late_writes, find_refusals
from skyferry.testing.servers import NatsServer, PostgresServer, RedisServer, ServerMissing, nats, postgres, redis
from skyferry.testing.servers.process import free_ports

NAMES = count(1)


def configure(folder: Path, queue: str, ledger: str = "sqlite://l.db") -> Settings:
    for name in ("a", "b"):
        (folder / name).mkdir(exist_ok=True)
    return Settings.model_validate(
        {
            "workspace": folder,
            "stores": {name: {"url": f"file://{folder / name}"} for name in ("a", "b")},
            "routes": [{"name": "r", "from": "a", "to": "b"}],
            "queues": [{"name": "q", "url": queue}],
            "ledger": {"url": ledger},
            "server": {"listen": "127.0.0.1:0"},
        }
    )


async def find_wrong(settings: Settings) -> dict[str, list[Check]]:
    """Return what doctor finds wrong with the queue and with the ledger."""
    checks = [each for each in await examine(settings, Scope(write=False)) if each.state is CheckState.WRONG]
    return {kind: [each for each in checks if each.kind == kind] for kind in ("queue", "ledger")}


async def find_at_postgres(server: PostgresServer, name: str, folder: Path, user: str = "") -> dict[str, list[Check]]:
    url = f"postgresql://{user or server.user}@{server.address}/{name}"
    return await find_wrong(configure(folder, f"{url}/q", url))


async def test_a_database_whose_settings_stop_a_worker(
    tmp_path: Path, postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its idle connections are ended, and it accepts none at all."""
    monkeypatch.setenv("PGPASSWORD", postgres_server.password)
    name = postgres_server.create_database()
    for setting, what, hint in (
        ("SET idle_session_timeout = 200", "idle_session_timeout is 200 ms", "SET idle_session_timeout = '10s'"),
        ("ALLOW_CONNECTIONS false", "is not currently accepting connections", "ALLOW_CONNECTIONS true"),
    ):
        postgres_server.run(f"ALTER DATABASE {name} {setting}")
        found = await find_at_postgres(postgres_server, name, tmp_path)
        for kind in ("queue", "ledger"):
            assert any(what in each.detail and hint in each.hint for each in found[kind]), found


async def test_a_missing_synchronous_standby_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each commit waits for it: the first statement of a worker has no answer."""
    try:
        with postgres("fsync=off", "synchronous_standby_names=one") as server:
            monkeypatch.setenv("PGPASSWORD", server.password)
            found = await find_at_postgres(server, "postgres", tmp_path)
    except ServerMissing as missing:
        absent(missing)
    said = "synchronous_standby_names is 'one', and no such standby is connected: each commit waits for one"
    for kind in ("queue", "ledger"):
        assert said in [each.detail for each in found[kind]]


async def test_tables_that_a_crash_empties_and_rights_that_are_missing_are_named(
    tmp_path: Path, postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSWORD", postgres_server.password)
    name, role = postgres_server.create_database(), f"misconfigured{next(NAMES)}"
    url = f"postgresql://{postgres_server.user}@{postgres_server.address}/{name}"
    await make_tables(configure(tmp_path, f"{url}/q", url))
    postgres_server.run("ALTER TABLE skyferry.message SET UNLOGGED; ALTER TABLE skyferry.letters SET UNLOGGED", name)
    found = await find_at_postgres(postgres_server, name, tmp_path)
    for kind, table in (("queue", "message"), ("ledger", "letters")):
        assert [each.detail for each in found[kind]] == [f"skyferry.{table} is UNLOGGED: a crash empties it"]
    postgres_server.run(f"CREATE ROLE {role} LOGIN PASSWORD 'x'")
    monkeypatch.setenv("PGPASSWORD", "x")
    found = await find_at_postgres(postgres_server, name, tmp_path, role)
    assert any('GRANT USAGE ON SCHEMA "skyferry"' in each.hint for each in found["queue"]), found


async def make_tables(settings: Settings) -> None:
    from skyferry.wiring import Opener

    opener = Opener(settings)
    queue, ledger = opener.queue("q"), opener.ledger_maintenance()
    assert ledger is not None
    assert [step async for step in ledger.migrate()]
    await queue.receive(1, 0)
    await queue.close()


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (
            {"min-replicas-to-write": "2", "min_slaves_good_slaves": "1"},
            "min-replicas-to-write is 2, and 1 replicas follow",
        ),
        ({"min-replicas-to-write": "2", "min_slaves_good_slaves": "2"}, ""),
        ({"min-replicas-to-write": "2", "role": "slave"}, ""),
        ({"maxclients": "30", "connected_clients": "11"}, "11 of 30 connections are in use"),
        ({"maxclients": "30", "connected_clients": "10"}, ""),
        ({}, ""),
        ({"appendonly": "yes", "no-appendfsync-on-rewrite": "yes"}, "no-appendfsync-on-rewrite is yes"),
        ({"appendonly": "no", "no-appendfsync-on-rewrite": "yes"}, ""),
    ],
)
def test_settings_of_redis(found: dict[str, Any], said: str) -> None:
    wrong = [*find_refusals(found), *find_late_writes(found)]
    assert [each.what.startswith(said) for each in wrong] == [True] * bool(said)


async def test_a_redis_that_refuses_writes_and_flushes_late_is_named(tmp_path: Path) -> None:
    options = ("--min-replicas-to-write", "1", "--no-appendfsync-on-rewrite", "yes", "--maxclients", "10")
    try:
        with redis(*options) as server:
            found = await find_wrong(configure(tmp_path, f"redis://{server.address}/q", f"redis://{server.address}/l"))
    except ServerMissing as missing:
        absent(missing)
    for kind in ("queue", "ledger"):
        said = " ".join(each.detail for each in found[kind])
        for words in (
            "the server refuses all writes",
            "no-appendfsync-on-rewrite is yes",
            "of 10 connections are in use",
        ):
            assert words in said


async def test_keys_of_another_program_are_named_before_the_ledger_exists(
    tmp_path: Path, redis_server: RedisServer
) -> None:
    """Also those that only a later call uses."""
    name = f"doctor-foreign-{next(NAMES)}"
    settings = configure(tmp_path, "sqlite://q.db", f"redis://{redis_server.address}/{name}")
    client = open_redis(settings)
    await client.run(lambda redis: redis.rpush(f"{{{name}}}:ledger:letters", "x"))
    (fault,) = [each for each in (await find_wrong(settings))["ledger"] if ":letters" in each.detail]
    assert fault.detail == f"{{{name}}}:ledger:letters is a list"
    assert "Use another name in the URL" in fault.hint
    await client.close()


async def test_a_renamed_command_is_named_without_its_arguments(tmp_path: Path) -> None:
    try:
        with redis("--rename-command", "EVALSHA", "") as server:
            (fault,) = (await find_wrong(configure(tmp_path, f"redis://{server.address}/q")))["queue"]
    except ServerMissing as missing:
        absent(missing)
    assert fault.detail == f"unknown command `EVALSHA` (at {server.address})"
    assert "rename-command" in fault.hint


async def make_stream(server: NatsServer, stream: dict[str, Any], consumer: dict[str, Any] | None) -> str:
    name = f"M{next(NAMES)}"
    client = await driver.connect(f"nats://{server.address}")
    try:
        context = client.jetstream()
        await context.add_stream(StreamConfig(name=name, subjects=[f"{name}.x"], **stream))
        if consumer:
            await context.add_consumer(name, ConsumerConfig(ack_policy=AckPolicy.EXPLICIT, **consumer))
    finally:
        await client.close()
    return name


@pytest.mark.parametrize(
    ("stream", "consumer", "said"),
    [
        ({"max_msg_size": 1000}, None, "messages of more than 1,000 bytes are refused"),
        ({"no_ack": True}, None, "the stream does not confirm messages"),
        (
            {"max_consumers": 1},
            {"durable_name": "other"},
            "the stream has 1 of 1 consumers, so consumer c cannot be made",
        ),
        ({"max_consumers": 1}, {"durable_name": "c", "max_ack_pending": 1000}, ""),
        ({}, {"durable_name": "c", "max_ack_pending": 1000, "headers_only": True}, "consumer c delivers headers alone"),
    ],
)
async def test_streams_and_consumers_that_stop_a_worker(
    stream: dict[str, Any], consumer: dict[str, Any] | None, said: str, tmp_path: Path, nats_server: NatsServer
) -> None:
    name = await make_stream(nats_server, stream, consumer)
    found = (await find_wrong(configure(tmp_path, f"nats://{nats_server.address}/{name}/c?subject={name}.x")))["queue"]
    assert [each.detail.startswith(said) for each in found] == [True] * bool(said), found


async def test_missing_rights_on_jetstream_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server denies the request, and never answers it."""
    users = '[{user: ada, password: pw, permissions: {publish: ["x"], subscribe: ["_INBOX.>"]}}]'
    monkeypatch.setenv("NATS_CREDENTIALS", "pw")
    try:
        with nats(f"authorization {{ users: {users} }}") as server:
            (fault,) = (await find_wrong(configure(tmp_path, f"nats://ada@{server.address}/s/c?subject=x")))["queue"]
    except ServerMissing as missing:
        absent(missing)
    assert "permissions violation for publish to" in fault.detail
    assert "$JS.API.>" in fault.hint


async def test_one_replica_in_a_cluster_is_mentioned(tmp_path: Path) -> None:
    """It is no fault: its messages may be sent again."""
    ports = free_ports(2, "127.0.0.1")
    routes = ", ".join(f'"nats://127.0.0.1:{port}"' for port in ports)
    with ExitStack() as stack:
        try:
            one, _ = (
                stack.enter_context(
                    nats(f'server_name: s{port}\ncluster {{ name: c, listen: "127.0.0.1:{port}", routes: [{routes}] }}')
                )
                for port in ports
            )
        except ServerMissing as missing:
            absent(missing)
        async with asyncio.timeout(120):
            while True:
                try:
                    name = await make_stream(one, {}, None)
                    break
                except DriverError:  # they have not chosen a leader yet
                    await asyncio.sleep(0.5)
        checks = await examine(
            configure(tmp_path, f"nats://{one.address}/{name}/c?subject={name}.x"), Scope(write=False)
        )
    assert any(
        "one replica: without its server, the stream is down" in each.detail for each in checks if each.name == "setup"
    )
