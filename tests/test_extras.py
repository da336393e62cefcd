"""The hint for a missing extra is a command that works here."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from skyferry import extras


class Installed:
    """A distribution with a recorded origin."""

    def __init__(self, origin: object) -> None:
        self._origin = origin

    def read_text(self, name: str) -> str | None:
        assert name == "direct_url.json"
        return json.dumps(self._origin) if self._origin else None


def test_from_the_index(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "distribution", lambda name: Installed(None))
    assert extras.install_command("s3").endswith("pip install 'skyferry[s3]'")


@pytest.mark.parametrize(("editable", "option"), [(True, "--editable "), (False, "")])
def test_from_a_checkout(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, editable: bool, option: str) -> None:
    folder = tmp_path / "my checkout"
    folder.mkdir()
    (folder / "pyproject.toml").touch()
    origin = {"url": folder.as_uri(), "dir_info": {"editable": editable}}
    monkeypatch.setattr(metadata, "distribution", lambda name: Installed(origin))
    assert extras.install_command("s3").endswith(f"install {option}'{folder}[s3]'")


def test_a_package_without_metadata(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise metadata.PackageNotFoundError

    monkeypatch.setattr(metadata, "distribution", missing)
    assert "'skyferry[s3]'" in extras.install_command("s3")


def test_the_tool_of_the_environment_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "distribution", lambda name: Installed(None))
    monkeypatch.setattr(sys, "prefix", "/home/ada/.local/pipx/venvs/skyferry")
    assert extras.install_command("gcs") == "pipx install --force 'skyferry[gcs]'"
    monkeypatch.setattr(sys, "prefix", "/home/ada/.local/share/uv/tools/skyferry")
    assert extras.install_command("gcs") == "uv tool install 'skyferry[gcs]'"


@pytest.mark.parametrize(
    ("url", "module"), [("postgresql://ferry@127.0.0.1/d", "asyncpg"), ("redis://127.0.0.1/l", "redis")]
)
@pytest.mark.parametrize("command", ["doctor", "workers", "ledger status"])
def test_commands_name_the_missing_extra_of_the_ledger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, module: str, command: str
) -> None:
    monkeypatch.setenv("SKYFERRY_LEDGER__URL", url)
    check_missing_module(tmp_path, module, *command.split())


@pytest.mark.parametrize("identity", ["", "&identity=static"])
@pytest.mark.parametrize("command", ["ls", "copy ."])
def test_commands_name_the_missing_extra_of_a_service_that_they_ask_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, identity: str
) -> None:
    """An endpoint that is not Amazon's is asked which service it is, before the store is opened."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    check_missing_module(tmp_path, "httptools", *command.split(), f"s3://b?endpoint=http://127.0.0.1:9{identity}")


def check_missing_module(folder: Path, module: str, *arguments: str) -> None:
    """Run a command without a module, and check that it says how to install it."""
    missing = f"raise ModuleNotFoundError('No module named {module}', name='{module}')"
    (folder / f"{module}.py").write_text(missing)  # the current folder is looked through first
    program = [sys.executable, "-m", "skyferry", *arguments]
    done = subprocess.run(program, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode in (1, 2)
    assert f"needs {module}" in done.stdout + done.stderr
    assert "install" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
