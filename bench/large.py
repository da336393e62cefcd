"""One large object from folder to folder through the whole worker, compared with `cp` and `sha256sum` of the same file.

    python -m bench.large [--size 4GiB] [--rounds N]

Each of the three runs in a separate process, on a file that was read once before. `cp` is followed by `sync` of the copy,
because Skyferry's copy is durable when it is done. Skyferry reads, writes, fsyncs, reads back from the disk, and computes
CRC32C and SHA-256. The peak memory is that of the whole process, including the interpreter.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.worker import Silence, events, fill, settings, work

from skyferry.config.units import parse_size
from skyferry.model import Provider

ROW = "{:<26} {:>9} {:>9} {:>12}"
BLOCK = os.urandom(2**20)


def copy_workspace(folder: Path) -> None:
    """Copy the objects of a workspace. Print the seconds and the peak memory in bytes."""
    spent = asyncio.run(work(settings(folder, "file://source"), Silence()))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    print(spent.seconds, peak)


def time_command(*command: str) -> float:
    """Run a command and return its duration in seconds."""
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def prepare(folder: Path, length: int) -> Path:
    """Make a workspace with one object and its event. Return the object's path."""
    path = folder / "source" / "00" / "0.bin"
    path.parent.mkdir(parents=True)
    (folder / "destination").mkdir()
    with path.open("wb") as file:
        for _ in range(length // len(BLOCK)):
            file.write(BLOCK)
        os.fsync(file.fileno())
    return path


def measure(folder: Path, length: int) -> None:
    """Measure the three and print a row each."""
    path = prepare(folder, length)
    (folder / "source.sum").write_bytes(subprocess.run(("sha256sum", path), check=True, capture_output=True).stdout)
    rows = {"sha256sum": time_command("sha256sum", str(path))}
    copy = str(folder / "copy")
    rows["cp, and sync of the copy"] = time_command("sh", "-c", 'cp "$0" "$1" && sync "$1"', str(path), copy)
    os.unlink(copy)
    (message,) = events(Provider.FILE, 1)
    asyncio.run(fill(settings(folder, "file://source"), [message]))
    command = [sys.executable, "-m", "bench.large", "--copy", str(folder)]
    done = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    seconds, peak = float(done[0]), int(done[1])
    subprocess.run(("cmp", path, folder / "destination" / "00" / "0.bin"), check=True)
    slower = max(rows.values())
    for name, each in rows.items():
        print(ROW.format(name, f"{each:.2f}", f"{length / each / 2**20:,.0f}", ""))
    ratio = f"{slower / seconds:.0%} of the slower, peak {peak / 2**20:.0f} MiB"
    print(ROW.format("skyferry", f"{seconds:.2f}", f"{length / seconds / 2**20:,.0f}", ratio), flush=True)


def main(length: int, rounds: int) -> None:
    """Print the table."""
    print(ROW.format(f"{length / 2**30:g} GiB", "seconds", "MiB/s", ""))
    for _ in range(rounds):
        with tempfile.TemporaryDirectory(dir=".") as name:
            measure(Path(name), length)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=parse_size, default=4 * 2**30)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--copy", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.copy:
        copy_workspace(given.copy)
    else:
        main(given.size, given.rounds)
