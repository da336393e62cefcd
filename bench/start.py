"""CPU of whole commands that have little to do: the start of each, and a second copy that finds everything copied.

    python -m bench.start [--runs N] [--objects N]

CPU is user and system time of the process with its threads, the median of runs that take turns. The second copies go from
folder to folder, by rclone as well if it is installed with this Python. Bytecode is compiled before, as an installation does it.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

PYTHON = Path(sys.executable)
SKYFERRY, RCLONE = str(PYTHON.with_name("skyferry")), str(PYTHON.with_name("rclone"))
ROW = "{:<34} {:>9} {:>9}"
FOLDERS = 40


def measure_cpu(command: Sequence[str], folder: Path, environ: Mapping[str, str]) -> float:
    """Run a command and return its CPU time, in milliseconds. Raises CalledProcessError if it fails."""
    process = subprocess.Popen(command, cwd=folder, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return 1000 * (used.ru_utime + used.ru_stime)


def make_objects(folder: Path, count: int) -> None:
    """Make a ledger for `status`, one file, and many in a tree."""
    (folder / "one.txt").write_text("one")
    for n in range(count):
        file = folder / f"many/{n % FOLDERS:02}/{n:06}"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x" * 1024)


def main(runs: int, objects: int) -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory(dir=".") as name:
        folder = Path(name).resolve()
        make_objects(folder, objects)
        environ = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
        environ |= {"XDG_STATE_HOME": str(folder / "state"), "SKYFERRY_SERVER__LISTEN": "127.0.0.1:9"}
        idle = [SKYFERRY, "run", "--until-idle", "--listen", "127.0.0.1:0"]
        subprocess.run(idle, cwd=folder, env=environ, check=True, capture_output=True)
        commands = {
            "--help": [SKYFERRY, "--help"],
            "version": [SKYFERRY, "version"],
            "copy of one object": [SKYFERRY, "copy", "--ignore-ledger", "one.txt", "out/"],
            "status": [SKYFERRY, "status"],
            "ls": [SKYFERRY, "ls", "out/"],
            f"second copy of {objects:,} files": [SKYFERRY, "copy", "many/", "copies/"],
        }
        if Path(RCLONE).exists():
            commands["the same by rclone"] = [RCLONE, "copy", "many", "copies", "--config", os.devnull]
        spent: dict[str, list[float]] = {command: [] for command in commands}
        for turn in range(runs + 1):
            for command, arguments in commands.items():
                cpu = measure_cpu(arguments, folder, environ)
                spent[command] += [cpu] if turn else []  # the first turn compiles, and copies
    print(ROW.format("CPU, ms", "median", "least"))
    for command, values in spent.items():
        print(ROW.format(command, f"{statistics.median(values):.0f}", f"{min(values):.0f}"))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--objects", type=int, default=12_000)
    given = parser.parse_args()
    main(given.runs, given.objects)
