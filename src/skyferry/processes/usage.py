"""The use of cores by this process, and what the machine has left."""

from __future__ import annotations

import os
import time
from pathlib import Path

from skyferry.frozen import dataclass

STAT = Path("/proc/stat")


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
