"""Instructions of `skyferry copy` for each small file, which busy cores do not change as they change its time.

    python -m bench.instructions [--files 1000 3000] [--python PATH …] [--copies first second s3] [--folder /dev/shm]

A copy of each number of files of 4 KiB runs under `valgrind --tool=cachegrind`, in one process; the difference is that of the
files. Instructions of the kernel are not counted. "first" is a copy from folder to folder, "second" one that finds everything
copied, and "s3" one from `rclone serve s3` to a folder. Each PATH is the Python of another checkout; their runs are interleaved.
Valgrind has no SHA instructions, so each 4 KiB that are hashed take 110,000 more than on most processors.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from bench._tools import serve
from bench.peers import prepare_environ

SIZE = 4096  # bytes
FOLDERS = 40
VALGRIND = ("valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null")
COUNT = re.compile(r"I +refs: +([0-9,]+)")
COPIES = ("first", "second", "s3")


def fill(folder: Path, count: int) -> None:
    """Make the files in a tree."""
    for n in range(count):
        file = folder / f"{n % FOLDERS:02}/{n:06}"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(f"{n:016}".encode() * (SIZE // 16))


def count_instructions(python: str, source: str, folder: Path, *, again: bool) -> int:
    """Return the instructions of a copy into a new folder, or, with `again`, of a second copy. Raises CalledProcessError."""
    environ = os.environ | prepare_environ(folder) | {"PYTHONHASHSEED": "0"}
    environ.pop("PYTHONDONTWRITEBYTECODE", None)
    with tempfile.TemporaryDirectory(dir=folder) as name:
        command = [
            python,
            "-m",
            "skyferry",
            "copy",
            "--processes",
            "1",
            source,
            f"{name}/to/",
            "--workspace",
            f"{name}/work",
        ]
        if again:
            subprocess.run(command, env=environ, check=True, capture_output=True)
        ended = subprocess.run([*VALGRIND, *command], env=environ, check=True, capture_output=True, text=True)
    found = COUNT.search(ended.stderr)
    assert found, ended.stderr
    return int(found[1].replace(",", ""))


def main(sizes: Sequence[int], pythons: Sequence[str], copies: Sequence[str], parent: str) -> None:
    """Print a row for each copy and checkout."""
    print("| copy | Python |", *(f"{size:,} files, millions |" for size in sizes), "for each file |")
    print("|---" * (3 + len(sizes)), "|", sep="")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=parent))).absolute()
        for size in sizes:
            fill(folder / f"served/from{size}", size)
        endpoint = stack.enter_context(serve(folder / "served")) if "s3" in copies else ""
        for python in pythons:  # compiles the modules
            (folder / "one").write_bytes(b"1")
            count_instructions(python, str(folder / "one"), folder, again=False)
        for copy in copies:
            spent: dict[str, list[int]] = {python: [] for python in pythons}
            for size in sizes:
                url = f"s3://from{size}/?endpoint={endpoint}&identity=static"
                source = url if copy == "s3" else f"{folder}/served/from{size}/"
                for python, counts in spent.items():
                    counts.append(count_instructions(python, source, folder, again=copy == "second"))
            for python, counts in spent.items():
                each = (counts[-1] - counts[0]) // (sizes[-1] - sizes[0])
                print(
                    f"| {copy} | {python} |", *(f"{count / 1e6:,.0f} |" for count in counts), f"{each:,} |", flush=True
                )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, nargs=2, default=(1000, 3000))
    parser.add_argument("--python", nargs="*", default=())
    parser.add_argument("--copies", nargs="+", choices=COPIES, default=COPIES)
    parser.add_argument("--folder", default=".")
    given = parser.parse_args()
    main(given.files, (sys.executable, *given.python), given.copies, given.folder)
