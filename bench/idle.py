"""CPU and memory of an idle service: `skyferry run` on its embedded default.

    python -m bench.idle [--seconds N] [--files N]

The CPU time is that of all threads, in nanoseconds by the scheduler, during a period that begins after the start. A wake-up is
a voluntary context switch. Linux only.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROW = "{:>14} {:>9} {:>12} {:>8} {:>12} {:>10}"


def cpu_seconds(process: int) -> float:
    """Return the CPU time of the threads of a process so far, in seconds."""
    return sum(int(file.read_text().split()[0]) for file in Path(f"/proc/{process}/task").glob("*/schedstat")) / 1e9


def count_wakeups(process: int) -> int:
    """Return how often the threads of a process have waited for something so far."""
    texts = [file.read_text() for file in Path(f"/proc/{process}/task").glob("*/status")]
    return sum(int(line.split()[1]) for text in texts for line in text.splitlines() if line.startswith("voluntary"))


def resident_mib(process: int) -> float:
    """Return the resident memory of a process, in MiB."""
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def measure(folder: Path, files: int, seconds: float) -> None:
    """Measure with so many files and print a row."""
    (folder / "source").mkdir()
    for n in range(files):
        (folder / "source" / f"{n}.txt").write_text(str(n))
    command = [sys.executable, "-m", "skyferry", "run", "--workspace", str(folder), "--listen", "127.0.0.1:0"]
    subprocess.run([*command, "--until-idle"], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as service:
        time.sleep(10)  # for the start and the first scan of the source
        before, woken, began = cpu_seconds(service.pid), count_wakeups(service.pid), time.perf_counter()
        time.sleep(seconds)
        cpu, passed = cpu_seconds(service.pid) - before, time.perf_counter() - began
        wakeups = f"{(count_wakeups(service.pid) - woken) / passed:.0f}"
        memory = f"{resident_mib(service.pid):.0f}"
        print(ROW.format(files, f"{passed:.0f}", f"{cpu:.2f}", f"{cpu / passed:.2%}", wakeups, memory))
        service.send_signal(signal.SIGTERM)


def main(seconds: float, files: int) -> None:
    """Print the table."""
    print(ROW.format("files watched", "seconds", "CPU, seconds", "CPU", "wake-ups/s", "RSS, MiB"))
    for count in (0, files):
        with tempfile.TemporaryDirectory(dir=".") as name:
            measure(Path(name), count, seconds)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--files", type=int, default=5_000)
    given = parser.parse_args()
    main(given.seconds, given.files)
