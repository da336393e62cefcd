"""Objects a second and CPU time per object of `skyferry copy` with 1, 2 and 4 processes, and by default, from folder to folder.

    python -m bench.processes [--objects N] [--rounds N] [--processes 1@1,1,2,4,auto] [--folder DIR] [--profile]

Objects of 4 KiB. Rounds are interleaved, and the medians are printed. "Start" is a copy of no object; rates and CPU time, of the
command and its children, are without it. Modules are compiled once, as in an installation. 1@1 is one process on one core, for the
threads of one process may use a second one. "auto" is the default, which begins with one process and grows if there are idle
cores; what it takes for that is in its rate and its CPU time. "Others" is the share of all cores that other programs took
meanwhile: with more than a few per cent, the rates say little. "Cores" is the CPU time by the time, both without the start.

--folder is where objects and ledger are: with /dev/shm, no flush waits for a disk. --profile also prints, of one more copy, where
the time of all cores went: before the first object arrived, while objects arrived, and after the last one. Then it prints what
those that copy did while objects arrived: one whose threads all wait is counted by the system call of one of them.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

ROW = "{:>10} {:>10} {:>8} {:>8} {:>16} {:>8} {:>10} {:>10}"
SHARES = "{:>10} {:>8} {:>8} {:>10} {:>12} {:>8} {:>8}"
SIZE = 4096  # bytes of an object
ALONE = "@1"  # after a number of processes: on one core
STEP = 0.02  # seconds between samples of a profile
Sample = tuple[float, float, float, float]  # time, and seconds of CPU time of the parent, its children and all programs
WORK, FLUSH, TURN, OTHER = (
    "run or wait for a core",
    "wait for a flush",
    "wait for a turn to write",
    "wait for something else",
)
WAITS = {  # by the numbers of system calls: fsync, fdatasync, syncfs; flock
    "x86_64": {"74": FLUSH, "75": FLUSH, "306": FLUSH, "73": TURN},
    "aarch64": {"82": FLUSH, "83": FLUSH, "267": FLUSH, "32": TURN},
}.get(platform.machine(), {})


def read_busy() -> float:
    """Return the seconds of CPU time that all programs of this machine have taken."""
    user, nice, system, *_ = Path("/proc/stat").read_text().split()[1:8]
    return (int(user) + int(nice) + int(system)) / os.sysconf("SC_CLK_TCK")


def read_cpu(pid: int) -> float:
    """Return the seconds of CPU time of one process; 0 if it has ended."""
    try:
        user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    except OSError:
        return 0.0
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def find_wait(pid: str) -> str:
    """Return what a process does. A flush counts before a turn, which often waits for the flush of another process."""
    found = OTHER
    for task in Path(f"/proc/{pid}/task").iterdir():
        call = (task / "syscall").read_text().split()[0]
        if call == "running":
            return WORK
        found = found if found == FLUSH else WAITS.get(call, found)
    return found


def take_samples(command: subprocess.Popen[bytes]) -> tuple[list[Sample], list[tuple[float, str]]]:
    """Sample a command until it ends. Return the CPU times, and what those that copy did at which time."""
    samples: list[Sample] = []
    waits: list[tuple[float, str]] = []
    children: dict[str, float] = {}
    listed = Path(f"/proc/{command.pid}/task/{command.pid}/children")
    while command.poll() is None:
        now = time.time()
        with suppress(OSError):  # a thread or a process has ended
            for pid in (pids := listed.read_text().split()):
                children[pid] = max(read_cpu(int(pid)), children.get(pid, 0.0))
            waits += [(now, find_wait(pid)) for pid in pids or [str(command.pid)]]
        samples.append((now, read_cpu(command.pid), sum(children.values()), read_busy()))
        time.sleep(STEP)
    return [each for n, each in enumerate(samples) if n == 0 or each[1]], waits  # it has no times once it has ended


def print_shares(processes: str, samples: list[Sample], waits: list[tuple[float, str]], target: Path) -> None:
    """Print the shares of all cores before, while and after objects arrived, and what was waited for. A name changes the file."""
    cores, arrived = os.cpu_count() or 1, [entry.stat().st_ctime for entry in os.scandir(target) if entry.is_file()]
    first, last = min(arrived), max(arrived)
    print(SHARES.format(processes, "s", "parent", "children", "others", "idle", "in all"))
    whole = samples[-1][0] - samples[0][0]
    for name, begin, end in (("before", 0.0, first), ("while", first, last), ("after", last, samples[-1][0])):
        inside = [sample for sample in samples if begin <= sample[0] <= end]
        before = [sample for sample in samples if sample[0] < begin][-1:]
        if len(chosen := before + inside) < 2:
            continue
        passed, parent, children, busy = (chosen[-1][n] - chosen[0][n] for n in range(4))
        shares = [parent, children, max(0.0, busy - parent - children)]
        shares.append(max(0.0, passed * cores - sum(shares)))
        cells = (f"{share / passed / cores:.0%}" for share in shares)
        print(SHARES.format(name, f"{passed:.2f}", *cells, f"{passed / whole:.0%}"))
    if did := Counter(what for at, what in waits if first <= at <= last):
        print("those that copy:", ", ".join(f"{what} {count / did.total():.0%}" for what, count in did.most_common()))


def copy(source: Path, target: Path, processes: str, *, profile: bool = False) -> tuple[float, float, float]:
    """Copy, and return the seconds, the CPU seconds, and those of other programs."""
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environ["PYTHONPYCACHEPREFIX"] = str(target.parent / "compiled")
    target.mkdir()
    count = processes.removesuffix(ALONE)
    command = [sys.executable, "-m", "skyferry", "copy", f"{source}/", f"{target}/", "--processes", count]
    command += ["--workspace", f"{target}.ledger"]
    if processes.endswith(ALONE):
        command = ["taskset", "--cpu-list", "0", *command]
    busy, before, began = read_busy(), resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environ) as running:
        samples, waits = take_samples(running) if profile else ([], [])
        _, errors = running.communicate()
    if running.returncode:
        sys.exit(errors.decode())
    passed, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    if profile:
        print_shares(processes, samples, waits, target)
    return passed, spent, max(0.0, read_busy() - busy - spent)


def main(objects: int, rounds: int, counts: list[str], where: str, *, profile: bool) -> None:
    """Print the table."""
    cores = os.cpu_count() or 1
    with tempfile.TemporaryDirectory(dir=where) as name:
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
        for count in counts if profile else ():
            copy(folder / "in", folder / f"in-{count}-profile", count, profile=True)
        print(
            ROW.format("processes", "objects/s", "start, s", "its CPU", "CPU, ms/object", "cores", "wall, s", "others")
        )
        for count in counts:
            start, begun, _ = (statistics.median(each) for each in zip(*found["none", count], strict=True))
            passed, spent, others = (statistics.median(each) for each in zip(*found["in", count], strict=True))
            rate, each = f"{objects / (passed - start):.0f}", f"{1000 * (spent - begun) / objects:.2f}"
            used, other = f"{(spent - begun) / (passed - start):.2f}", f"{others / passed / cores:.0%}"
            print(ROW.format(count, rate, f"{start:.2f}", f"{begun:.2f}", each, used, f"{passed:.2f}", other))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=int, default=8000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--processes", default="1@1,1,2,4,auto")
    parser.add_argument("--folder", default=".", metavar="DIR")
    parser.add_argument("--profile", action="store_true")
    given = parser.parse_args()
    main(given.objects, given.rounds, given.processes.split(","), given.folder, profile=given.profile)
