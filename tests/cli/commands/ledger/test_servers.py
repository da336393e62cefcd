"""`ledger` commands on each engine that is not a file give a useful answer, or say what to do instead."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from skyferry.cli.exit_codes import ExitCode
from skyferry.testing.servers import PostgresServer, RedisServer

if TYPE_CHECKING:
    from tests.cli.conftest import Cli

NAMES = count(1)


def configure(url: str) -> None:
    stores = "stores: {a: {url: 'file://a'}, b: {url: 'file://b'}}"
    Path("skyferry.yaml").write_text(f"{stores}\nroutes: [{{name: r, from: a, to: b}}]\nledger: {{url: '{url}'}}\n")
    for name in ("a", "b"):
        Path("skyferry-data", name).mkdir(parents=True, exist_ok=True)


@pytest.fixture(params=["postgresql", "redis"])
def url(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of a ledger that does not exist yet. Requested before `cli`, which leaves the folder of the servers."""
    if request.param == "redis":
        redis_server: RedisServer = request.getfixturevalue("redis_server")
        return f"redis://{redis_server.address}/commands-{next(NAMES)}"
    postgres_server: PostgresServer = request.getfixturevalue("postgres_server")
    monkeypatch.setenv("PGPASSWORD", postgres_server.password)
    return f"postgresql://{postgres_server.user}@{postgres_server.address}/{postgres_server.create_database()}"


def test_each_command_has_an_answer(url: str, cli: Cli) -> None:
    configure(url)
    for command in (["status"], ["check"], ["backup", "x"], ["migrate"]):
        missing = cli("ledger", *command)
        assert (missing.code, "--config or" in missing.err or "or --config" in missing.err) == (ExitCode.FAILED, True)
    assert cli("ledger", "rebuild").code == 0
    assert cli("ledger", "rebuild", "--add").code == 0
    assert "none yet" in cli("ledger", "status").out
    assert cli("ledger", "migrate").code == 0  # contracts a new ledger in PostgreSQL
    assert cli("ledger", "migrate").out.endswith("up to date\n")
    assert cli("ledger", "check").out.endswith("intact\n")


def test_a_server_makes_its_own_backups(url: str, cli: Cli) -> None:
    """The refusal names its commands, and writes nothing."""
    configure(url)
    assert cli("ledger", "migrate", "--create").code == 0
    refused = cli("ledger", "backup", "x")
    assert refused.code == ExitCode.FAILED
    assert "is backed up by its server" in refused.err
    assert ("pg_dump --schema=skyferry" if "postgres" in url else "BGSAVE") in refused.err
    assert not Path("x").exists()


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("memory://x", ExitCode.USAGE),
        ("redis://127.0.0.1:9/x", ExitCode.UNREACHABLE),
        ("postgresql://skyferry@127.0.0.1:9/x", ExitCode.UNREACHABLE),
    ],
)
def test_a_ledger_that_cannot_be_opened_is_named(cli: Cli, url: str, code: ExitCode) -> None:
    """It ends with the service, or does not answer."""
    configure(url)
    for command in (["status"], ["check"], ["backup", "x"], ["migrate", "--create"], ["rebuild"]):
        result = cli("ledger", *command)
        assert (result.code, result.out, result.err.count("\n")) == (code, "", 1)


@pytest.mark.parametrize(
    ("address", "hint"),
    [
        ("postgresql://skyferry@{postgres}/missing", "Create the database"),
        ("postgresql://stranger@{postgres}/postgres", "Check the user of the URL"),
        ("redis://stranger@{redis}/x", "Check the user of the URL"),
        ("redis://{redis}/x?db=99", "Correct the option db"),
    ],
)
def test_a_ledger_that_is_refused_is_no_outage(
    address: str,
    hint: str,
    postgres_server: PostgresServer,
    redis_server: RedisServer,
    monkeypatch: pytest.MonkeyPatch,
    cli: Cli,
) -> None:
    """No later try of the same command would succeed. No answer contains the password."""
    monkeypatch.setenv("PGPASSWORD", "s3cretwrong" if "stranger" in address else postgres_server.password)
    monkeypatch.setenv("REDIS_PASSWORD", "s3cretwrong" if "stranger" in address else "")
    configure(address.format(postgres=postgres_server.address, redis=redis_server.address))
    monkeypatch.setenv("SKYFERRY_SERVER__LISTEN", "127.0.0.1:0")
    for command in (["ledger", "status"], ["workers"], ["run"], ["run", "--until-idle"], ["doctor"]):
        result = cli(*command)
        assert (command, result.code) == (command, ExitCode.FAILED), result.err
        assert hint in result.err + result.out
        assert "s3cretwrong" not in result.err + result.out
