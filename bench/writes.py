"""System time to write a GiB to files in pieces of several sizes, with the disk cache full.

    python -m bench.writes [--pieces 32,64,128,256,1024] [--size 256MiB] [--rounds 4] [--folder .]

Linux stores what one call writes in blocks of contiguous memory. If none is free, it moves other memory to make some: the stalls.
Memory is free again once a file is deleted, so all files are kept until the end: rounds times sizes, which should be more than the
memory that is free at the start. Rounds are interleaved; least, median and largest are printed. Linux only.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from skyferry.config.units import parse_size

PART = memoryview(os.urandom(8 * 2**20))


def count_stalls() -> int:
    """Return how often a process of this machine waited while memory was moved."""
    lines = (line.split() for line in Path("/proc/vmstat").read_text().splitlines())
    return next((int(value) for name, value in lines if name == "compact_stall"), 0)


def write(path: Path, size: int, piece: int) -> tuple[float, int]:
    """Write a file; return the system time in seconds, and the stalls."""
    with path.open("wb", buffering=0) as file:
        os.truncate(file.fileno(), size)
        began, stalls = resource.getrusage(resource.RUSAGE_SELF).ru_stime, count_stalls()
        for offset in range(0, size, len(PART)):
            for start in range(0, len(PART), piece):
                os.pwrite(file.fileno(), PART[start : start + piece], offset + start)
        spent = resource.getrusage(resource.RUSAGE_SELF).ru_stime - began, count_stalls() - stalls
        os.fsync(file.fileno())
    return spent


def main(pieces: Sequence[int], size: int, rounds: int, folder: str) -> None:
    """Print a row for each size of pieces."""
    print(time.strftime("%Y-%m-%d"), platform.platform(), *sys.argv)
    print("| piece | system time, s/GiB | stalls/GiB |\n|---|---|---|")
    spent: dict[int, list[tuple[float, int]]] = defaultdict(list)
    with tempfile.TemporaryDirectory(dir=folder) as made:
        for turn in range(rounds):
            for piece in pieces if turn % 2 else reversed(pieces):
                spent[piece].append(write(Path(made, f"{turn}-{piece}"), size, piece))
    for piece in pieces:
        seconds, stalls = zip(*spent[piece], strict=True)
        each = (f"{pick(seconds) * 2**30 / size:.2f}" for pick in (min, statistics.median, max))
        print(f"| {piece // 1024} KiB | {', '.join(each)} | {statistics.median(stalls) * 2**30 / size:,.0f} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pieces", default="32,64,128,256,1024", help="KiB")
    parser.add_argument("--size", type=parse_size, default=256 * 2**20)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--folder", default=".")
    given = parser.parse_args()
    main([int(kib) * 1024 for kib in given.pieces.split(",")], given.size, given.rounds, given.folder)
