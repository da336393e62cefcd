"""`check-config`, `schema`, `version`, and what all commands have in common."""

from __future__ import annotations

from asyncio import CancelledError
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from skyferry import __version__
from skyferry.cli import main
from skyferry.cli.command_table import COMMANDS as TABLE
from skyferry.cli.exit_codes import ExitCode
from skyferry.events.native import json_schema

if TYPE_CHECKING:
    from tests.cli.conftest import Cli

LETTERS = [f"dead-letters {name}" for name in ("list", "show", "redrive", "discard")]
COMMANDS = [entry.name for entry in TABLE if entry.name != "dead-letters"] + LETTERS


def test_check_config_prints_every_fault_with_its_line(cli: Cli) -> None:
    Path("bad.yaml").write_text("workspce: here\nlimits:\n  transfers: 0\n")
    result = cli("check-config", "--config", "bad.yaml")
    assert result.code == 2
    assert "fault: line 1, workspce: is not a setting. Did you mean workspace?" in result.out
    assert "line 3, limits.transfers" in result.out
    assert [f["line"] for f in cli("check-config", "--config", "bad.yaml", "--json").json()["faults"]] == [1, 3]


def test_check_config_without_faults_names_the_routes(cli: Cli) -> None:
    assert "default: source → destination, deletes: propagate" in cli("check-config").out
    assert cli("check-config", "--json").json() == {"ok": True, "file": None, "faults": [], "warnings": []}
    assert not list(Path().iterdir()), "it touches nothing"


def test_a_command_with_a_faulty_configuration_ends_with_all_faults(cli: Cli) -> None:
    Path("bad.yaml").write_text("limits: {transfers: 0, batch: 0}\n")
    result = cli("status", "--config", "bad.yaml")
    assert result.code == 2
    assert result.err.startswith("error: bad.yaml: 2 faults\n")


def test_schema_prints_the_schema_of_the_events(cli: Cli) -> None:
    import orjson

    assert orjson.loads(cli("schema").out) == orjson.loads(orjson.dumps(json_schema()))


def test_version(cli: Cli) -> None:
    assert cli("version").out.startswith(f"skyferry {__version__} on Python ")
    assert cli("version", "--json").json()["skyferry"] == __version__


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(cli: Cli, command: str) -> None:
    result = cli(*command.split(), "--help")
    assert result.code == 0
    assert "Usage: skyferry " + command in result.out


def test_help_flows_into_the_width_of_the_terminal(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """A paragraph keeps no line breaks of the source."""
    monkeypatch.setenv("COLUMNS", "80")
    text = cli("dead-letters", "redrive", "--help").out
    assert "that the ledger knows are redriven there; others are sent to the queue that" in text
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize("arguments", ["-h", "copy -h", "dead-letters -h", "dead-letters list -h"])
def test_h_is_help_on_every_level(cli: Cli, arguments: str) -> None:
    assert cli(*arguments.split()).out == cli(*arguments.replace("-h", "--help").split()).out


def test_the_option_version_prints_the_version(cli: Cli) -> None:
    assert cli("--version").out == cli("-V").out == f"skyferry {__version__}\n"


def test_an_unknown_command_is_a_usage_error(cli: Cli) -> None:
    assert cli("fly").code == 2


@pytest.mark.parametrize(
    ("arguments", "near"),
    [("statsu", "'status'"), ("dead-letters lst", "'list'"), ("transfers --ruote x", "'--route'")],
)
def test_a_misspelt_name_suggests_the_near_one(cli: Cli, arguments: str, near: str) -> None:
    result = cli(*arguments.split())
    assert result.code == 2
    assert near in result.err


def test_an_interruption_in_the_middle_of_a_failure_ends_with_130(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """asyncio.run lets the CancelledError out then."""

    def cancelled(arguments: object, **settings: object) -> None:
        raise CancelledError

    monkeypatch.setattr("skyferry.cli.app.main", cancelled)
    with pytest.raises(SystemExit) as ended:
        main(["version"])
    assert (ended.value.code, capsys.readouterr().err) == (ExitCode.INTERRUPTED, "")


@pytest.mark.parametrize("command", [["run", "--until-idle", "--no-live"], ["submit", "file://source/a"]])
def test_a_folder_that_may_not_be_written_is_an_error_in_one_line(cli: Cli, command: list[str]) -> None:
    result = cli(*command, "--workspace", "/proc/skyferry")  # not even by root
    assert result.code in (1, 4)
    assert result.err.startswith("error: /proc/skyferry")
    assert result.err.count("\n") == 1
