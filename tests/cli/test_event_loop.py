"""The event loop of `run` and `copy`: uvloop where it is installed, and the same behaviour on both."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from skyferry.cli.event_loop import choose_loop, run_async
from skyferry.errors import ConfigError

LOOPS = ["asyncio", *(["uvloop"] if importlib.util.find_spec("uvloop") else [])]


async def name_loop() -> str:
    return type(asyncio.get_running_loop()).__module__.partition(".")[0]


@pytest.mark.parametrize("loop", LOOPS)
def test_the_variable_selects_the_loop(loop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKYFERRY_EVENT_LOOP", f" {loop.upper()}")
    assert run_async(name_loop()) == loop


def test_the_default_is_the_fastest_that_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SKYFERRY_EVENT_LOOP", raising=False)
    assert run_async(name_loop()) == LOOPS[-1]
    monkeypatch.setitem(sys.modules, "uvloop", None)
    assert run_async(name_loop()) == "asyncio"
    with pytest.raises(ConfigError, match=r"skyferry\[uvloop\]"):
        choose_loop("uvloop")


def test_an_unknown_loop_is_a_fault_and_nothing_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKYFERRY_EVENT_LOOP", "trio")
    with pytest.raises(ConfigError, match="trio"):
        run_async(name_loop())


@pytest.mark.parametrize("loop", LOOPS)
def test_a_run_and_a_copy_work_on_it(loop: str, tmp_path: Path) -> None:
    """The service says which it is. Objects of several parts arrive whole."""
    source = tmp_path / "skyferry-data" / "source"
    source.mkdir(parents=True)
    content = os.urandom(20 * 2**20)
    (source / "large").write_bytes(content)
    env = {**os.environ, "SKYFERRY_EVENT_LOOP": loop}

    def skyferry(*arguments: str) -> str:
        command = [sys.executable, "-m", "skyferry", *arguments]
        done = subprocess.run(
            command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60, check=True, stdin=subprocess.DEVNULL
        )  # fmt: skip
        return done.stderr

    log = skyferry("run", "--until-idle", "--listen", "127.0.0.1:0")
    started = [json.loads(line) for line in log.splitlines() if "service.started" in line]
    assert [line["message"] for line in started] == [f"event loop: {loop}"]
    assert (tmp_path / "skyferry-data" / "destination" / "large").read_bytes() == content
    skyferry("copy", str(source / "large"), str(tmp_path / "copied"))
    assert (tmp_path / "copied").read_bytes() == content
