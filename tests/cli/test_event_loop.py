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

from skyferry.cli.event_loop import check_clock, choose_loop, run_async
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


def test_a_clock_before_1970_is_a_fault() -> None:
    """Transfers that are due at 0 would be due in the future, and a copy would not end."""
    check_clock(0.0)
    with pytest.raises(ConfigError, match="before 1970"):
        check_clock(-1.0)


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


PASS_PARTS = """
import asyncio, re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from skyferry.cli.event_loop import run_async

def resident():
    return int(re.search(r"VmRSS:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) // 1024

def pass_parts(barrier):
    for _ in range(4):
        part = b"x" * (8 * 2**20)
        barrier.wait()  # all of them at the same time
        del part

async def main():
    with ThreadPoolExecutor(4) as threads:
        barrier = Barrier(4)
        before = resident()
        for done in [threads.submit(pass_parts, barrier) for _ in range(4)]:
            done.result()
        print(resident() - before)

run_async(main())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc, and concerns glibc")
def test_the_memory_of_parts_that_have_passed_is_returned() -> None:
    """With glibc's defaults, four threads keep 32 MiB more than the budget."""
    done = subprocess.run([sys.executable, "-c", PASS_PARTS], capture_output=True, text=True, check=True, timeout=60)
    assert int(done.stdout) < 4, "MiB"
