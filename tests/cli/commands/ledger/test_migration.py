"""`ledger status` and `ledger migrate`: what the schema is, and the steps that it lacks."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.ledgers.sqlite.old_program import OldProgram, make_file

from skyferry.cli.exit_codes import ExitCode
from skyferry.clock import SystemClock
from skyferry.ledgers.sqlite.ledger import SqliteLedger
from skyferry.ledgers.sqlite.schema import HISTORY
from skyferry.testing.servers import PostgresServer

if TYPE_CHECKING:
    from tests.cli.conftest import Cli

LEDGER = Path("skyferry-data") / "ledger.db"
STEPS = [str(step) for step in HISTORY.steps]


def test_a_ledger_is_described_while_it_is_used(filled: Cli) -> None:
    ledger = SqliteLedger(LEDGER, "service", SystemClock())
    try:
        found = filled("ledger", "status", "--json").json()
        text = filled("ledger", "status").out
    finally:
        asyncio.run(ledger.close())
    assert found["ledger"] == str(LEDGER)
    assert found["engine"] == f"SQLite {sqlite3.sqlite_version}"
    assert (found["version"], found["compatible_from"], found["known"]) == (HISTORY.known, 1, HISTORY.known)
    assert found["pending"] == []
    assert found["transfers"]["done"] == 1
    assert found["size"] >= LEDGER.stat().st_size
    assert f"version {HISTORY.known}; this Skyferry knows version {HISTORY.known}" in text


def test_a_ledger_of_before_is_migrated_beside_its_program(cli: Cli) -> None:
    """First the pending steps are shown, and nothing changes."""
    make_file(LEDGER)
    old = OldProgram(LEDGER, "old")
    try:
        assert cli("ledger", "migrate", "--dry-run", "--json").json() == {"ledger": str(LEDGER), "steps": STEPS}
        assert "from before there were versions" in cli("ledger", "status").out
        assert cli("ledger", "migrate").out.splitlines() == [f"{step}: applied" for step in STEPS]
    finally:
        old.close()
    again = cli("ledger", "migrate")
    assert (again.code, again.out) == (0, f"{LEDGER}: up to date\n")
    assert cli("ledger", "status", "--json").json()["pending"] == []


def test_a_missing_ledger_is_not_made_by_mistake(cli: Cli) -> None:
    """A misspelt folder is named, and stays missing."""
    for command in ("status", "migrate"):
        refused = cli("ledger", command, "--workspace", "mispelt")
        assert refused.code == ExitCode.FAILED
        assert "the ledger does not exist" in refused.err
        assert "--create" in refused.err
    assert not Path("mispelt").exists()
    assert cli("ledger", "migrate", "--create", "--json").json()["steps"] == STEPS
    assert LEDGER.stat().st_mode & 0o777 == 0o600
    assert cli("status").code == 0


@pytest.mark.parametrize(
    "command",
    [
        *[("status",), ("run", "--until-idle"), ("transfers",), ("ledger", "migrate"), ("ledger", "check")],
        *[("ledger", "backup", "copy.db"), ("ledger", "rebuild"), ("ledger", "rebuild", "--add")],
    ],
    ids=" ".join,
)
def test_a_ledger_that_is_too_new_is_refused_with_an_exit_code(filled: Cli, command: tuple[str, ...]) -> None:
    with closing(sqlite3.connect(LEDGER)) as db, db:
        db.execute("UPDATE schema_version SET number = 99, compatible_from = 99")
    refused = filled(*command)
    assert (refused.code, ExitCode.INCOMPATIBLE.value) == (5, 5)
    assert f"{LEDGER}: its schema is for programs from version 99" in refused.err
    assert "Update Skyferry on this machine" in refused.err
    shown = filled("ledger", "migrate", "--dry-run")
    assert (shown.code, shown.out) == (5, "")
    assert "for programs from version 99" in shown.err
    described = filled("ledger", "status")
    assert described.code == 0
    assert "cannot use it: update it" in described.out


@pytest.mark.parametrize("command", ["status", "migrate"])
def test_a_ledger_in_memory_is_out_of_reach(cli: Cli, command: str) -> None:
    Path("skyferry.yaml").write_text("ledger: {url: 'memory://ledger'}\n")
    refused = cli("ledger", command)
    assert refused.code == ExitCode.USAGE
    assert "in the memory of the service" in refused.err


def test_a_misspelt_url_is_named(cli: Cli) -> None:
    Path("skyferry.yaml").write_text("ledger: {url: 'postgre://db.example.org/skyferry'}\n")
    refused = cli("ledger", "migrate", "--create")
    assert refused.code == ExitCode.USAGE
    assert "postgre://" in refused.err


def test_a_ledger_on_a_server_is_made_and_described(
    cli: Cli, postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the password; a server that does not answer may answer later."""
    database = postgres_server.create_database()
    url = f"postgresql://{postgres_server.user}@{postgres_server.address}/{database}"
    Path("skyferry.yaml").write_text(f"ledger: {{url: '{url}'}}\n")
    monkeypatch.setenv("PGPASSWORD", postgres_server.password)
    assert cli("ledger", "status").code == ExitCode.FAILED
    made = cli("ledger", "migrate", "--create", "--json").json()
    assert "0001 expand: tables" in made["steps"]
    found = cli("ledger", "status", "--json").json()
    assert found["ledger"] == f"postgresql://{postgres_server.address}/{database}, schema skyferry"
    assert (found["pending"], found["transfers"]["done"]) == ([], 0)
    assert found["engine"].startswith("PostgreSQL ")
    assert "up to date" in cli("ledger", "migrate").out
    away = url.replace(str(postgres_server.port), "1")
    Path("skyferry.yaml").write_text(f"ledger: {{url: '{away}'}}\n")
    refused = cli("ledger", "migrate")
    assert refused.code == ExitCode.UNREACHABLE
    assert postgres_server.password not in refused.err
