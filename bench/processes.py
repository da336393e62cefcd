"""Objects a second and CPU time per object of `skyferry copy` with 1, 2 and 4 processes, from folder to folder.

    python -m bench.processes [--objects N] [--rounds N] [--processes 1@1,1,2,4]

Objects of 4 KiB. Rounds are interleaved, and the medians are printed. "Start" is a copy of no object; rates and CPU time, of the
command and its children, are without it. Modules are compiled once, as in an installation. 1@1 is one process on one core, for the
threads of one process may use a second one. "Others" is the share of all cores that other programs took meanwhile: with more than
a few per cent, the rates say little.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROW = "{:>10} {:>10} {:>8} {:>8} {:>16} {:>10} {:>10}"
SIZE = 4096  # bytes of an object
ALONE = "@1"  # after a number of processes: on one core


def read_busy() -> float:
    """Return the seconds of CPU time that all programs of this machine have taken."""
    user, nice, system, *_ = Path("/proc/stat").read_text().split()[1:8]
    return (int(user) + int(nice) + int(system)) / os.sysconf("SC_CLK_TCK")


def copy(source: Path, target: Path, processes: str) -> tuple[float, float, float]:
    """Copy, and return the seconds, the CPU seconds, and those of other programs."""
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environ["PYTHONPYCACHEPREFIX"] = str(target.parent / "compiled")
    target.mkdir()
    urls = (f"{source}/", f"{target}/")
    command = [
        sys.executable,
        "-m",
        "skyferry",
        "copy",
        *urls,
        "--workspace",
        f"{target}.ledger",
        "--processes",
        processes.removesuffix(ALONE),
    ]
    if processes.endswith(ALONE):
        command = ["taskset", "--cpu-list", "0", *command]
    busy, before, began = read_busy(), resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, env=environ)
    passed, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return passed, spent, max(0.0, read_busy() - busy - spent)


def main(objects: int, rounds: int, counts: list[str]) -> None:
    """Print the table."""
    cores = os.cpu_count() or 1
    with tempfile.TemporaryDirectory(dir=".") as name:
        folder = Path(name)
        for source, number in (("in", objects), ("none", 0)):
            (folder / source).mkdir()
            for n in range(number):
                (folder / source / f"{n:06}").write_bytes(os.urandom(SIZE))
        copy(folder / "none", folder / "warm", "2")
        found: dict[tuple[str, str], list[tuple[float, float, float]]] = {}
        for turn in range(rounds):
            for count in counts:
                for source in ("none", "in"):
                    target = folder / f"{source}-{turn}-{count}"
                    found.setdefault((source, count), []).append(copy(folder / source, target, count))
        print(ROW.format("processes", "objects/s", "start, s", "its CPU", "CPU, ms/object", "wall, s", "others"))
        for count in counts:
            start, begun, _ = (statistics.median(each) for each in zip(*found["none", count], strict=True))
            passed, spent, others = (statistics.median(each) for each in zip(*found["in", count], strict=True))
            rate, each = f"{objects / (passed - start):.0f}", f"{1000 * (spent - begun) / objects:.2f}"
            print(
                ROW.format(
                    count, rate, f"{start:.2f}", f"{begun:.2f}", each, f"{passed:.2f}", f"{others / passed / cores:.0%}"
                )
            )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=int, default=8000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--processes", default="1@1,1,2,4")
    given = parser.parse_args()
    main(given.objects, given.rounds, given.processes.split(","))
