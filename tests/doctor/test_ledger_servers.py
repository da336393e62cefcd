"""Mistakes at the server of a ledger, or at the place of its file, are named with what to do; never a traceback."""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from skyferry.config.settings import LedgerSettings, QueueSettings, Settings
from skyferry.doctor.check import Check, CheckState, CheckSubject
from skyferry.doctor.ledger.files import check_ledger, check_server
from skyferry.doctor.ledger.records import check_records
from skyferry.errors import LedgerError
from skyferry.ledgers.postgres.status import LARGE, check_log, describe_server
from skyferry.ports.inspection import LedgerFacts, Unknown
from skyferry.postgres.address import parse_postgres
from skyferry.postgres.schema import SchemaState
from skyferry.postgres.server_settings import ServerFacts, check_server_settings
from skyferry.records import Record
from skyferry.redaction import redact_secrets
from skyferry.redis.client import RedisClient
from skyferry.redis.server_settings import check_server_settings as check_redis_settings
from skyferry.sqlite.filesystem import find_network_filesystem
from skyferry.testing.servers import NatsServer, PostgresServer, RedisServer, postgres, redis
from skyferry.testing.servers.engines.redis import find_version
from skyferry.wiring import Opener, build_service

NAMES = count(1)
GOOD = {
    "server_version": "15.18",
    "server_version_num": "150018",
    "server_encoding": "UTF8",
    "transaction_read_only": "off",
    "in_hot_standby": "off",
    "zero_damaged_pages": "off",
    "max_connections": "100",
    "superuser_reserved_connections": "3",
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "statement_timeout": "0",
    "connections": "7",
}
MOUNTS = (
    "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n30 22 0:50 / /mnt/team\\040disk rw shared:7 - nfs4 nas:/x rw\n"
    "31 30 8:2 / /mnt/team\\040disk/local rw - xfs /dev/sdb rw\n"
)


def settings(url: str, folder: Path) -> Settings:
    stores = {name: {"url": f"file://{folder / name}"} for name in ("a", "b")}
    for name in stores:
        (folder / name).mkdir(exist_ok=True)
    document = {
        "workspace": folder,
        "stores": stores,
        "routes": [{"name": "r", "from": "a", "to": "b"}],
        "queues": [{"name": "q", "url": "sqlite://q.db"}],
        "ledger": {"url": url},
        "server": {"listen": "127.0.0.1:0"},
    }
    return Settings.model_validate(document)


class Heard:
    """An observer that keeps the records."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    def on(self, record: Record) -> None:
        self.records.append(record)

    def unsafe(self) -> dict[str, str]:
        return {record.queue: record.message for record in self.records if record.event == "server.unsafe"}


async def find_faults(wanted: Settings) -> list[Check]:
    opener = Opener(wanted)
    checks = await check_ledger(opener)
    if all(check.name != "reach" or check.state is CheckState.OK for check in checks):
        checks += await check_records(opener)
    return [check for check in checks if check.state is CheckState.WRONG]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({}, ""),
        ({"server_version_num": "130010", "server_version": "13.10"}, "PostgreSQL 13.10 is too old"),
        ({"server_encoding": "LATIN1"}, "the encoding of the database is LATIN1"),
        ({"server_encoding": "SQL_ASCII"}, ""),
        ({"transaction_read_only": "on"}, "default_transaction_read_only is on"),
        ({"transaction_read_only": "on", "in_hot_standby": "on"}, "the server is a read-only standby"),
        ({"fsync": "off"}, "fsync is off"),
        ({"statement_timeout": "900"}, "statement_timeout is 900 ms"),
        ({"transaction_timeout": "900"}, "transaction_timeout is 900 ms"),
        ({"lock_timeout": "900"}, "lock_timeout is 900 ms"),
        ({"idle_in_transaction_session_timeout": "10000"}, ""),
        ({"connections": "93"}, "93 of 97 connections are in use"),
        ({"connections": "92"}, ""),
        ({"role_limit": "7", "role_connections": "3"}, "3 of 7 connections of the role are in use"),
        ({"role_limit": "8", "role_connections": "3"}, ""),
        ({"database_limit": "4"}, "0 of 4 connections of the database are in use"),
    ],
)
def test_settings_of_postgresql(changed: dict[str, str], said: str) -> None:
    assert [each.what.startswith(said) for each in check_server_settings(GOOD | changed)] == [True] * bool(said)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({}, ""),
        ({"redis_version": "6.0.16"}, "Redis 6.0.16 is too old"),
        ({"maxmemory": "100", "used_memory": "91"}, "91% of maxmemory is in use"),
        ({"aof_last_write_status": "err"}, "the server could not write its append-only file"),
    ],
)
def test_settings_of_redis(changed: dict[str, str], said: str) -> None:
    good = {"maxmemory-policy": "noeviction", "appendonly": "yes", "appendfsync": "always", "save": ""}
    assert [each.what.startswith(said) for each in check_redis_settings(good | changed)] == [True] * bool(said)


def test_a_pooler_and_missing_rights_are_noticed() -> None:
    address = parse_postgres("postgresql://localhost/d", "", names=0, allow_plain=False)
    facts = ServerFacts("ferry", "15", tls=True, is_standby=False, is_pooled=True, skew=0.0)
    found = describe_server(address, facts, [], SchemaState("skyferry", 0, ("0001 expand: tables",), may_apply=False))
    assert [each.what for each in found.wrong] == ["the role ferry may not create its tables in schema skyferry"]
    assert found.wrong[0].hint.endswith("or run `skyferry ledger migrate --create` with a role that owns it.")
    older = describe_server(address, facts, [], SchemaState("skyferry", 3, ("0004 expand: room",), may_apply=False))
    assert [each.what for each in older.wrong] == ["the role ferry may not apply 0004 expand: room in schema skyferry"]
    another = SchemaState("skyferry", 3, ("0004 expand: room",), may_apply=False, owner="admin")
    found_of_another = describe_server(address, facts, [], another).wrong
    assert found_of_another[0].hint == "Run `skyferry ledger migrate` with the role admin, which owns the tables."
    assert older.notes[-1] == "schema skyferry of version 3; the next start applies 0004 expand: room"
    assert "pooler=transaction" in found.doubtful[0].hint
    expected = describe_server(
        replace(address, pooler="transaction"), facts, [], SchemaState("skyferry", 4, (), may_apply=False)
    )
    assert (expected.wrong, expected.doubtful) == ((), ())


@pytest.mark.parametrize(
    ("compression", "size", "said"),
    [
        ("off", LARGE, "wal_compression is off, and the ledger has 1.0 GiB: most of its log may be images of pages"),
        (
            "pglz",
            3 * LARGE,
            "wal_compression is pglz, and the ledger has 3.0 GiB: most of its log may be images of pages",
        ),
        ("lz4", LARGE, ""),
        ("zstd", LARGE, ""),
        ("off", LARGE - 1, ""),
    ],
)
def test_a_large_ledger_wants_a_compressed_log(compression: str, size: int, said: str) -> None:
    assert [each.what for each in check_log(compression, size)] == [said] * bool(said)


async def test_the_size_of_a_ledger_is_compared_with_the_settings_of_the_log(
    tmp_path: Path, postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is no fault. Servers before PostgreSQL 15, and those built without lz4, have no better setting."""
    monkeypatch.setenv("PGPASSWORD", postgres_server.password)
    name = postgres_server.create_database()
    found = settings(f"postgresql://{postgres_server.user}@{postgres_server.address}/{name}", tmp_path)
    async with build_service(found, Heard()):
        pass
    knows = postgres_server.run(
        "SELECT count(*) FROM pg_settings WHERE name = 'wal_compression' AND 'lz4' = ANY(enumvals)"
    )

    async def list_doubts() -> list[str]:
        checks = await check_ledger(Opener(found))
        return [each.detail for each in checks if (each.name, each.state) == ("settings", CheckState.UNKNOWN)]

    assert await list_doubts() == []
    monkeypatch.setattr("skyferry.ledgers.postgres.status.LARGE", 8192)
    doubts = await list_doubts()
    assert ["wal_compression is off" in each for each in doubts] == [True] * int(knows)


@pytest.mark.parametrize(
    ("skew", "state"), [(-2.0, CheckState.OK), (90.0, CheckState.UNKNOWN), (Unknown("denied"), CheckState.UNKNOWN)]
)
def test_a_clock_that_differs_is_no_fault(skew: float | Unknown, state: CheckState) -> None:
    """Leases follow the clock of the server alone."""
    checks = check_server(CheckSubject("ledger", "ledger"), LedgerFacts("h:1", "ferry", skew, ("x",)))
    assert {check.name: check.state for check in checks}["clock"] is state


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/ledger.db", ""),
        ("/mnt/team disk/ledger.db", "nfs4"),
        ("/mnt/team disk/local/ledger.db", ""),
        ("/mnt/team disks/ledger.db", ""),
    ],
)
def test_a_network_filesystem_is_found(path: str, kind: str, tmp_path: Path) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS)
    assert find_network_filesystem(Path(path), mounts) == kind
    assert find_network_filesystem(Path(path), tmp_path / "missing") == ""


async def test_a_file_that_cannot_be_written_is_named_before_there_is_one(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (fault,) = await find_faults(settings("sqlite://file/ledger.db", tmp_path))
    assert "cannot be written by this user" in fault.detail


@pytest.mark.parametrize(
    ("address", "hint"),
    [
        ("postgresql://ferry@127.0.0.1:9/d", "Check that the server runs"),
        ("redis://127.0.0.1:9/l", "If it expects TLS there, use rediss://."),
        ("postgresql://{postgres}/missing", "Create the database"),
        ("postgresql://{postgres}/postgres?sslmode=require", "`ssl = on`"),
        ("redis://{redis}/l?db=99", "Correct the option db"),
        ("redis://{redis}/l?cluster=on", "Remove cluster=on"),
    ],
)
async def test_a_wrong_address_is_named(
    address: str,
    hint: str,
    tmp_path: Path,
    postgres_server: PostgresServer,
    redis_server: RedisServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Once, although several checks need the ledger."""
    monkeypatch.setenv("PGPASSWORD", postgres_server.password)
    place = {"postgres": f"{postgres_server.user}@{postgres_server.address}", "redis": redis_server.address}
    (fault,) = await find_faults(settings(address.format_map(place), tmp_path))
    assert (fault.name, hint in fault.hint) == ("reach", True)


def open_redis(found: Settings) -> RedisClient[LedgerError]:
    """Return a client of the ledger's server."""
    maintenance: Any = Opener(found).ledger_maintenance()  # the port has no client, its adapter in Redis has
    client: RedisClient[LedgerError] = maintenance._client()
    return client


@pytest.mark.parametrize(
    ("rules", "lacks", "since"),
    [
        ("~{rights}:* +@read +@write", "", 6),
        ("~{rights}:* +@read", "may not use HDEL, HINCRBY, HSET", 7),
        ("~{rights}:* +@read +@write -zadd", "may not use ZADD with the keys {rights}:ledger:*", 7),
        ("~{other}:* +@read +@write", "key", 6),
        ("%R~{rights}:* +@read +@write", "key", 7),
    ],
)
async def test_rights_that_are_missing_are_found_before_the_ledger_exists(
    tmp_path: Path, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch, rules: str, lacks: str, since: int
) -> None:
    """Without a write: the start of the service would fail, or its first transfer."""
    if find_version() < (since,):
        pytest.skip(f"Redis has these rules, or a check of them, from version {since} on")
    admin = open_redis(settings(f"redis://{redis_server.address}/rights", tmp_path))
    needed = "+@scripting +@connection +time +info +memory|usage +config|get"
    words = ("on", ">secret", *rules.split(), *needed.split())
    await admin.run(lambda redis: redis.execute_command("ACL", "SETUSER", "ferry", "reset", *words))
    monkeypatch.setenv("REDIS_PASSWORD", "secret")
    try:
        faults = await find_faults(settings(f"redis://ferry@{redis_server.address}/rights", tmp_path))
        assert [lacks in each.detail for each in faults if "ACL SETUSER" in each.hint] == [True] * bool(lacks), faults
        assert await admin.run(lambda redis: redis.keys("*rights*")) == []
    finally:
        await admin.run(lambda redis: redis.execute_command("ACL", "DELUSER", "ferry"))
        await admin.close()


async def test_a_password_is_not_taken_for_a_secret_in_a_hint(
    tmp_path: Path, postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Logs redact what follows `password:`, so no hint has that."""
    monkeypatch.setenv("PGPASSWORD", "wrong")
    (fault,) = await find_faults(settings(f"postgresql://stranger@{postgres_server.address}/postgres", tmp_path))
    assert "identity.secret_file, PGPASSWORD" in fault.hint
    assert redact_secrets(fault.hint) == fault.hint


async def test_a_database_that_cannot_keep_every_key_is_named(
    tmp_path: Path, postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSWORD", postgres_server.password)
    name = f"latin{next(NAMES)}"
    postgres_server.run(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'")
    postgres_server.run(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    url = f"postgresql://{postgres_server.user}@{postgres_server.address}/{name}"
    faults = await find_faults(settings(url, tmp_path))
    assert [fault.hint.partition(":")[0] for fault in faults] == [
        "Set default_transaction_read_only = off there.",
        "Use a database whose encoding is UTF8",
    ]


async def test_a_user_of_redis_without_its_password_is_not_taken_for_the_default_one(tmp_path: Path) -> None:
    """A user that the server admits without a password may be named."""
    with redis("--appendfsync", "always") as server:
        admin = open_redis(settings(f"redis://{server.address}/l", tmp_path))
        await admin.run(lambda redis: redis.execute_command("ACL", "SETUSER", "closed", "on", ">secret", "~*", "+@all"))
        await admin.run(lambda redis: redis.execute_command("ACL", "SETUSER", "open", "on", "nopass", "~*", "+@all"))
        await admin.close()
        (fault,) = await find_faults(settings(f"redis://closed@{server.address}/l", tmp_path))
        assert fault.hint.startswith("Check the user of the URL")
        assert await find_faults(settings(f"redis://open@{server.address}/l", tmp_path)) == []


async def test_a_server_of_another_protocol_is_named(tmp_path: Path, postgres_server: PostgresServer) -> None:
    (fault,) = await find_faults(settings(f"redis://{postgres_server.address}/l", tmp_path))
    assert "cannot be reached" in fault.detail
    assert postgres_server.address in fault.detail  # also if the driver names it


@pytest.mark.parametrize(
    ("name", "what"), [("folder", "it is a folder, not a file"), ("text", "it is not a file of SQLite")]
)
async def test_a_path_that_is_something_else_is_named(tmp_path: Path, name: str, what: str) -> None:
    """Before a repair is proposed."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "text").write_text("a shopping list\n" * 100)
    faults = await find_faults(settings(f"sqlite://{name}", tmp_path))
    assert faults
    assert all(what in fault.detail for fault in faults)


async def test_a_server_that_speaks_first_is_named(tmp_path: Path, nats_server: NatsServer) -> None:
    (fault,) = await find_faults(settings(f"redis://{nats_server.address}/l", tmp_path))
    assert f"no answer of Redis at {nats_server.address}" in fault.detail
    assert "another program may answer there" in fault.hint


async def test_keys_of_another_program_are_not_touched(tmp_path: Path, redis_server: RedisServer) -> None:
    name = f"doctor-{next(NAMES)}"
    url = f"redis://{redis_server.address}/{name}"
    client = open_redis(settings(url, tmp_path))
    await client.run(lambda redis: redis.set(f"{{{name}}}:ledger:counters", "theirs"))
    faults = await find_faults(settings(url, tmp_path))
    assert faults[-1].hint == "Another program uses keys of that name. Use another name in the URL."
    assert await client.run(lambda redis: redis.get(f"{{{name}}}:ledger:counters")) == b"theirs"
    await client.close()


async def test_a_cluster_without_its_slots_is_no_crash(tmp_path: Path) -> None:
    with redis("--cluster-enabled", "yes") as server:
        for options in ("", "?cluster=on"):
            faults = await find_faults(settings(f"redis://{server.address}/l{options}", tmp_path))
            assert "CLUSTER INFO" in faults[-1].hint


async def test_two_deployments_on_one_ledger_are_noticed(tmp_path: Path, redis_server: RedisServer) -> None:
    """The name of a store means two places."""
    url = f"redis://{redis_server.address}/doctor-{next(NAMES)}"
    one = settings(url, tmp_path)
    async with build_service(one, Heard()):
        pass
    other = one.stores["b"].model_copy(update={"url": f"file://{tmp_path}/c"})
    two = one.model_copy(update={"stores": {**one.stores, "b": other}})
    (check,) = await check_records(Opener(two))
    assert (check.name, check.state) == ("stores", CheckState.UNKNOWN)
    assert "a ledger of its own" in check.hint
    assert await check_records(Opener(one)) == []


async def test_the_service_says_at_its_start_what_may_be_lost(
    tmp_path: Path, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line for each server; nothing about a safe one."""
    heard = Heard()
    with redis("--maxmemory-policy", "allkeys-lru", "--appendonly", "no") as server:
        unsafe = settings(f"redis://{server.address}/l", tmp_path)
        queue = QueueSettings(name="q", url=f"redis://{server.address}/q")
        async with build_service(unsafe.model_copy(update={"queues": (queue,)}), heard):
            pass
    assert {"", "q"} == set(heard.unsafe())
    assert heard.unsafe()[""] == (
        "maxmemory-policy is allkeys-lru: records may be deleted when memory is short; "
        "nothing is written to disk: a restart loses the ledger"
    )
    heard = Heard()
    async with build_service(settings(f"redis://{redis_server.address}/doctor-{next(NAMES)}", tmp_path), heard):
        pass
    assert heard.unsafe() == {}
    with postgres("fsync=off") as slow:
        monkeypatch.setenv("PGPASSWORD", slow.password)
        wanted = settings("sqlite://l.db", tmp_path)
        ledger = LedgerSettings(url=f"postgresql://{slow.user}@{slow.address}/postgres")
        async with build_service(wanted.model_copy(update={"ledger": ledger}), heard):
            pass
    assert heard.unsafe()[""].startswith("fsync is off")
