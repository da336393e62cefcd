"""Figures of the image that `python -m tools.image` built: `python -m tools.image_figures`. Needs root, as containers do.

A container is a mount namespace and a PID namespace with the image's files, read-only but for the workspace, and the image's user.
"""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import date
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from tools.image import NAME, buildah, built

from skyferry.testing.servers.process import free_ports

USER = 65532
WORKSPACE = {"SKYFERRY_WORKSPACE": "/var/lib/skyferry", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
ROUNDS = 5


@contextmanager
def mounted() -> Iterator[Path]:
    """Yield the root file system of a container."""
    container = buildah("from", NAME).stdout.strip()
    try:
        root = Path(buildah("mount", container).stdout.strip())
        (root / "proc").mkdir(exist_ok=True)
        yield root
    finally:
        buildah("rm", container)


def start(root: Path, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    """Start the program in `root`, as PID 1 of a namespace."""
    entry = (
        f"mount --bind {root} {root} && mount --bind {root}/var/lib/skyferry {root}/var/lib/skyferry && "
        f"mount -t proc proc {root}/proc && mount -o remount,ro,bind {root} && "
        f'exec chroot --userspec={USER}:{USER} {root} /usr/bin/skyferry "$@"'
    )
    command = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-euc", entry, "sh", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def serve(root: Path) -> tuple[subprocess.Popen[str], int]:
    """Start the service, wait until it is healthy, and return it with its PID outside of the namespace."""
    (port,) = free_ports()
    process = start(root, "run", SKYFERRY_SERVER__LISTEN=f"127.0.0.1:{port}", **WORKSPACE)
    end = time.monotonic() + 60
    while time.monotonic() < end and process.poll() is None:
        with suppress(URLError, OSError):
            urlopen(f"http://127.0.0.1:{port}/health", timeout=1).close()
            return process, int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[0])
        time.sleep(0.02)
    if process.poll() is None:
        process.kill()
    raise AssertionError(f"not healthy: {process.communicate()}")


def measure_size(root: Path) -> int:
    """Return the bytes of all files."""
    return sum(file.lstat().st_size for file in root.rglob("*") if not file.is_dir())


def _measure_times(root: Path) -> tuple[float, float, float]:
    """Return the seconds from the start to the first answer, those of CPU time, and the seconds from SIGTERM to the end."""
    began = time.monotonic()
    process, program = serve(root)
    healthy = time.monotonic() - began
    used = sum(map(int, Path(f"/proc/{program}/stat").read_text().rpartition(")")[2].split()[11:13])) / os.sysconf(
        "SC_CLK_TCK"
    )
    began = time.monotonic()
    os.kill(program, signal.SIGTERM)
    process.communicate(timeout=60)
    return healthy, used, time.monotonic() - began


def main() -> None:
    """Print the figures."""
    with mounted() as root:
        size = measure_size(root) / 2**20
        files = sum(not file.is_dir() for file in root.rglob("*"))
        parts = {name: measure_size(root / name) / 2**20 for name in ("opt", "usr")}
        times = [_measure_times(root) for _ in range(ROUNDS)]
    healthy, used, stopped = (statistics.median(column) for column in zip(*times, strict=True))
    print(f"{date.today():%-d %B %Y}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.0f}, user {built()['User']}")
    print(f"size: {size:.0f} MiB in {files} files; /opt {parts['opt']:.0f} MiB, /usr {parts['usr']:.0f} MiB")
    print(f"start to the first answer of /health: {healthy:.1f} s, {used:.1f} s of CPU time (medians of {ROUNDS})")
    print(f"SIGTERM to the end, with nothing in flight: {stopped:.1f} s")


if __name__ == "__main__":
    main()
