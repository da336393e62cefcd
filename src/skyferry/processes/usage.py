"""The use of cores by this process, and the cores and the memory that are left."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from math import inf
from pathlib import Path

from skyferry.frozen import dataclass
from skyferry.processes.counts import CGROUP

STAT, MEMORY = Path("/proc/stat"), Path("/proc/meminfo")
LIMITS = (  # of a control group: its most, what it has, and the part of that which is cached files; versions 2 and 1
    ("memory.max", "memory.current", "memory.stat", "inactive_file"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat", "total_inactive_file"),
)


@dataclass(frozen=True, slots=True)
class Usage:
    """The mean use of cores for some time."""

    seconds: float
    own: float  # cores that this process used
    idle: float  # cores that it may use, and nothing used


class UsageMeter:
    """Measures from one call to the next."""

    def __init__(self) -> None:
        self._last = _read()

    def measure(self) -> Usage:
        """Return the use since the last call, or since the beginning."""
        (then, used, idle), self._last = self._last, _read()
        now, used_now, idle_now = self._last
        seconds = max(now - then, 1e-3)
        own = (used_now - used) / seconds
        if idle is None or idle_now is None:
            return Usage(seconds, own, max(0.0, (os.cpu_count() or 1) - max(own, os.getloadavg()[0])))
        return Usage(seconds, own, (idle_now - idle) / seconds)

    def find_memory(self) -> float:
        """Return the bytes that more processes may have."""
        return min(read_available(MEMORY), read_left(CGROUP))


def _read() -> tuple[float, float, float | None]:
    return time.monotonic(), time.process_time(), read_idle(STAT)


def read_idle(stat: Path) -> float | None:
    """Return the seconds for which the cores that this process may use were idle, in all; None if the system does not count them.

    A core that waits for a disk alone is idle. Only Linux has `stat`: https://man7.org/linux/man-pages/man5/proc_stat.5.html
    """
    try:
        lines = [line.split() for line in stat.read_text().splitlines() if line.startswith("cpu")]
    except OSError:
        return None
    cores = {f"cpu{number}" for number in os.sched_getaffinity(0)}
    ticks = sum(int(idle) + int(disk) for name, _, _, _, idle, disk, *_ in lines if name in cores)
    return ticks / os.sysconf("SC_CLK_TCK")


def read_available(memory: Path) -> float:
    """Return the bytes that are available without swapping; infinity if the system does not count them.

    https://man7.org/linux/man-pages/man5/proc_meminfo.5.html
    """
    with suppress(OSError, LookupError):
        return 1024 * _read_fields(memory)["MemAvailable:"]
    return inf


def read_left(folder: Path) -> float:
    """Return the bytes that the limit of the control group mounted at `folder` leaves; infinity without a limit.

    Cached files give way, so they do not count. https://docs.kernel.org/admin-guide/cgroup-v2.html
    """
    for most, used, statistics, cached in LIMITS:
        with suppress(OSError, LookupError, ValueError):  # neither, or no limit: "max"
            limit, has = (int((folder / name).read_text()) for name in (most, used))
            return limit - has + _read_fields(folder / statistics)[cached]
    return inf


def _read_fields(file: Path) -> dict[str, int]:
    """Return the first number of each line, by the word before it."""
    return {words[0]: int(words[1]) for line in file.read_text().splitlines() if len(words := line.split()) > 1}
