"""A copy in a process that gets few threads, files or memory ends with a clear error, or copies everything."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from skyferry.cli.exit_codes import ExitCode

# No portable limit of the system refuses the threads of one process only: ulimit -u counts those of the user.
FEW_THREADS = """
import sys, threading
left, start = int(sys.argv.pop(1)), threading._start_new_thread
def start_few(*args):
    global left
    if left <= 0:
        raise RuntimeError("can't start new thread")
    left -= 1
    return start(*args)
threading._start_new_thread = start_few
from skyferry.cli import main
main()
"""


@pytest.mark.parametrize("loop", ["", "asyncio"])
@pytest.mark.parametrize("count", range(7))
def test_a_copy_with_so_many_threads_arrives_or_ends_with_an_error(tmp_path: Path, count: int, loop: str) -> None:
    done = _copy(tmp_path, ["-c", FEW_THREADS, str(count)], {"SKYFERRY_EVENT_LOOP": loop})
    assert "Traceback" not in done.stderr
    if done.returncode == ExitCode.OK:
        assert len(list((tmp_path / "copied").iterdir())) == 3
    else:
        assert count < 5
        assert done.returncode in (ExitCode.FAILED, ExitCode.UNREACHABLE)
        assert "no thread can be started (raise the limits of threads and memory" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("count", "error"),
    [
        (10, "too many files are open (raise the limit of open files (ulimit -n))"),
        (64, "this process may open only 64 files (raise it to 128 or more (ulimit -n))"),
    ],
)
def test_a_process_that_may_open_few_files_names_the_limit(tmp_path: Path, count: int, error: str) -> None:
    done = _copy(tmp_path, ["-m", "skyferry"], {}, f"ulimit -n {count};")
    assert done.returncode in (ExitCode.FAILED, ExitCode.USAGE)
    assert done.stderr == f"error: {error}\n"


def _copy(folder: Path, command: list[str], env: dict[str, str], limit: str = "") -> subprocess.CompletedProcess[str]:
    source = folder / "source"
    source.mkdir()
    for name in "abc":
        (source / name).write_text(name)
    arguments = [sys.executable, *command, "copy", str(source), str(folder / "copied"), "--retry-for", "500ms"]
    return subprocess.run(
        ["/bin/sh", "-c", f'{limit} exec "$@"', "sh", *arguments],
        env={**os.environ, "XDG_STATE_HOME": str(folder / "state"), **env},
        capture_output=True,
        text=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
