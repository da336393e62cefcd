"""A command of several processes, as a user runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PATIENCE = 60.0  # seconds for anything to happen


def write_objects(folder: Path, count: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        (folder / f"{number:04}").write_bytes(b"%d" % number)


def wait_until(true: Callable[[], Any]) -> Any:
    end = time.monotonic() + PATIENCE
    while not (found := true()):
        assert time.monotonic() < end, true
        time.sleep(0.02)
    return found


def is_alive(pid: int) -> bool:
    """Return True if the process runs. One that has ended and is not waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@dataclass
class Command:
    """A command that runs, with its log in a file."""

    process: subprocess.Popen[str]
    log: Path

    def records(self, event: str) -> list[dict[str, Any]]:
        """Return the lines of an event that are complete."""
        lines = self.log.read_text().splitlines(keepends=True)
        records = (json.loads(line) for line in lines if line.endswith("\n") and line.startswith("{"))
        return [record for record in records if record["event"] == event]

    def pids(self) -> dict[str, int]:
        """Return the latest process of each worker."""
        return {record["worker"]: int(record["message"].split()[-1]) for record in self.records("process.started")}

    def end(self) -> tuple[int, str]:
        """Wait for the end. Return the exit code and standard output."""
        output, _ = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, output


@contextmanager
def run_command(folder: Path, *arguments: object, program: tuple[str, ...] = ("-m", "skyferry")) -> Iterator[Command]:
    """Run `skyferry` with these arguments, in the folder."""
    log = folder / "log"
    command = [sys.executable, *program, *(str(argument) for argument in arguments)]
    environ = {**os.environ, "NO_COLOR": "1"}
    with log.open("w") as file:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=file, text=True, env=environ, cwd=folder)
    try:
        yield Command(process, log)
    finally:
        process.kill()
        process.communicate()
