"""Child processes that end with this one, even if it is killed, and their folder."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from urllib.error import URLError
from urllib.request import urlopen

PR_SET_PDEATHSIG = 1  # prctl(2), Linux
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None  # loaded before the fork, where loading is not safe


class ServerMissing(Exception):
    """The server is not installed."""

    def __init__(self, name: str, bring: str = "") -> None:
        """Take the command that installs it as `bring`, by default the one of this package."""
        self.name = name
        super().__init__(f"{name} is not installed: {bring or f'python -m skyferry.testing.servers install {name}'}")


def find_servers() -> Path:
    """Return the folder of installed servers: $SKYFERRY_SERVERS, or `.servers` here. Git ignores it."""
    folder = Path(os.environ.get("SKYFERRY_SERVERS", ".servers")).resolve()
    if not folder.exists():
        folder.mkdir(parents=True)
        (folder / ".gitignore").write_text("*\n")
    return folder


@contextmanager
def scratch_folder(name: str) -> Iterator[Path]:
    """A folder for one run, which is removed with it; so are those whose run was killed."""
    runs = find_servers() / "run"
    runs.mkdir(exist_ok=True)
    for old in runs.iterdir():
        if not Path("/proc", old.name.split("-")[1]).exists() and sys.platform == "linux":
            shutil.rmtree(old, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=f"{name}-{os.getpid()}-", dir=runs, ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def free_ports(count: int = 1, host: str = "127.0.0.1") -> list[int]:
    """Return free ports of `host`."""
    with ExitStack() as stack:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        sockets = [stack.enter_context(socket.socket(family)) for _ in range(count)]
        for each in sockets:
            each.bind((host, 0))
        return [each.getsockname()[1] for each in sockets]


def is_answering(url: str) -> bool:
    """Return True if an HTTP server answers there, with any status."""
    try:
        urlopen(url, timeout=2).close()
    except URLError as error:
        return hasattr(error, "code")
    except OSError:
        return False
    return True


def _die_with_parent() -> None:
    """In the child, before its program: the kernel kills it when our thread ends."""
    if _LIBC is not None:
        _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Children:
    """The processes of one server. They write to `log`; leaving the block ends them, the youngest first."""

    def __init__(self, log: Path, grace: float = 5.0, stop: signal.Signals = signal.SIGTERM) -> None:
        """Kill a process that has not ended `grace` seconds after the signal `stop`."""
        self._log, self._grace, self._stop = log, grace, stop
        self.processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Children:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def end(self) -> None:
        """End the processes, the youngest first."""
        for child in reversed(self.processes):
            child.send_signal(self._stop)
            try:
                child.wait(timeout=self._grace)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()

    def spawn(self, command: Sequence[str | Path], env: Mapping[str, str] | None = None, user: str = "") -> None:
        """Start a process, as another user if one is named. `env` is added to the environment."""
        with self._log.open("ab") as log:
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **(env or {})},
                preexec_fn=_die_with_parent,
                user=user or None,
                cwd=self._log.parent if user else None,  # another user may not enter the current folder
            )
        self.processes.append(child)

    def wait(self, ready: Callable[[], bool], seconds: float = 60) -> None:
        """Return once `ready()`. Raises RuntimeError with the end of the log if a child ends first, or time is up."""
        end = time.monotonic() + seconds
        while not ready():
            if time.monotonic() > end or any(child.poll() is not None for child in self.processes):
                raise RuntimeError(f"the server did not start:\n{self._log.read_text(errors='replace')[-4000:]}")
            with suppress(InterruptedError):
                time.sleep(0.05)
