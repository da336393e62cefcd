"""The configuration file that a command uses, and how it says so."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.request import urlopen

import pytest

from skyferry.cli.config_file import ConfigSource, find_config
from skyferry.errors import ConfigError

if TYPE_CHECKING:
    from tests.cli.conftest import Cli


def test_the_first_of_option_variable_and_folder_wins(tmp_path: Path) -> None:
    variable = {"SKYFERRY_CONFIG": str(tmp_path / "skyferry.yaml")}
    assert find_config(None, {}, tmp_path) == ConfigSource()
    (tmp_path / "skyferry.yaml").touch()
    assert find_config(None, {}, tmp_path).file == tmp_path / "skyferry.yaml"
    assert find_config(None, {"SKYFERRY_CONFIG": " "}, tmp_path).reason == "found in this folder"
    assert find_config(None, variable, tmp_path).reason == "SKYFERRY_CONFIG"
    assert find_config(Path("x"), variable, tmp_path) == ConfigSource(Path("x"), "--config")


def test_skyferry_yml_is_found_but_not_beside_skyferry_yaml(tmp_path: Path) -> None:
    (tmp_path / "skyferry.yml").touch()
    assert find_config(None, {}, tmp_path).file == tmp_path / "skyferry.yml"
    (tmp_path / "skyferry.yaml").touch()
    with pytest.raises(ConfigError, match=r"both skyferry\.yaml and skyferry\.yml"):
        find_config(None, {}, tmp_path)


@pytest.mark.parametrize(("name", "reason"), [("absent.yaml", "does not exist"), (".", "is not a file")])
def test_a_variable_that_names_no_file_is_an_error_of_every_command(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, name: str, reason: str
) -> None:
    monkeypatch.setenv("SKYFERRY_CONFIG", name)
    for command in (["status"], ["check-config"], ["ls", "."], ["run", "--until-idle"]):
        result = cli(*command)
        assert (result.code, result.out) == (2, "")
        assert f"SKYFERRY_CONFIG={name}: the configuration file {reason}" in result.err


def test_what_has_the_name_in_this_folder_and_is_no_file_is_an_error(cli: Cli) -> None:
    """Otherwise the embedded default would be used instead of it."""
    Path("skyferry.yaml").symlink_to("absent.yaml")
    result = cli("check-config")
    assert (result.code, "skyferry.yaml: the configuration file is a link to absent.yaml" in result.err) == (2, True)
    Path("skyferry.yaml").unlink()
    Path("skyferry.yml").mkdir()
    result = cli("run", "--until-idle")
    assert (result.code, "skyferry.yml: the configuration file is a folder" in result.err) == (2, True)


def test_check_config_judges_the_file_in_this_folder_and_says_so(cli: Cli) -> None:
    assert cli("check-config").out.startswith("configuration: the embedded default (no --config, no SKYFERRY_CONFIG, ")
    Path("skyferry.yaml").write_text("workspce: here\n")
    result = cli("check-config")
    assert result.code == 2
    assert result.out.startswith("configuration: skyferry.yaml (found in this folder)\nfault: line 1, workspce")
    assert cli("check-config", "--json").json()["file"] == "skyferry.yaml"
    assert cli("status").err.startswith("error: skyferry.yaml: 1 fault\n")


def test_hints_repeat_the_options_that_were_given(cli: Cli) -> None:
    Path("my file.yaml").touch()
    result = cli("status", "--config", "my file.yaml", "--workspace", "w")
    assert "start `skyferry run --config 'my file.yaml' --workspace w` once" in result.err


@contextmanager
def listening(*command: str, cwd: Path, url: str) -> Iterator[None]:
    """Run a server until the end of the context."""
    process = subprocess.Popen(
        [sys.executable, *command], cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        for _ in range(300):
            try:
                urlopen(url).close()
                break
            except OSError:
                assert process.poll() is None
                time.sleep(0.1)
        yield
    finally:
        process.terminate()
        process.wait()


def test_status_knows_its_own_service(
    filled: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, unused_tcp_port: int
) -> None:
    """Nothing, another program, the service of another workspace, and its own service."""
    address, run = f"127.0.0.1:{unused_tcp_port}", ("-m", "skyferry", "run", "--no-live")
    monkeypatch.setenv("SKYFERRY_SERVER__LISTEN", address)
    other = tmp_path / "other"
    other.mkdir()
    assert (filled("status").code, filled("status", "--json").json()["foreign"]) == (0, "")
    with listening(
        "-m", "http.server", str(unused_tcp_port), "--bind", "127.0.0.1", cwd=other, url=f"http://{address}"
    ):
        result = filled("status")
        assert (result.code, f"not here: another program answers at http://{address}" in result.out) == (1, True)
    with listening(*run, cwd=other, url=f"http://{address}/health"):
        result = filled("status")
        assert result.code == 1
        assert f"the service of another workspace answers at http://{address}: {other / 'skyferry-data'}" in result.out
    with listening(*run, cwd=tmp_path, url=f"http://{address}/health"):
        result = filled("status", "--json")
        assert (result.code, result.json()["service"]["workspace"]) == (0, str(tmp_path / "skyferry-data"))


@pytest.mark.parametrize(
    "command", [["copy", "a", "b/"], ["run", "--until-idle", "--no-live", "--listen", "127.0.0.1:0"]]
)
def test_every_command_warns_of_a_variable_that_is_nearly_a_setting(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    Path("a").touch()
    monkeypatch.setenv("SKYFERRY_LIMIT_MEMORY", "64MiB")
    assert "warning: SKYFERRY_LIMIT_MEMORY: is ignored, for there is no such setting. Two" in cli(*command).err


def test_check_config_reports_an_unknown_event_loop(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKYFERRY_EVENT_LOOP", "foo")
    result = cli("check-config")
    said = "fault: SKYFERRY_EVENT_LOOP: the event loop 'foo' is unknown. Set it to asyncio or uvloop.\n"
    assert (result.code, said in result.out, "no faults" in result.out) == (2, True, False)
