"""Starting one child, and its end."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import subprocess
import sys
from typing import Protocol

from skyferry.frozen import dataclass
from skyferry.processes.channel import Channel
from skyferry.processes.job import WorkerJob
from skyferry.processes.spares import SpareProcesses

MODULE = "skyferry.cli.commands.service.worker_process"


class Process(Protocol):
    """A process that this one has started: see `subprocess.Popen`."""

    @property
    def pid(self) -> int: ...

    def kill(self) -> None: ...

    def wait(self) -> int: ...


@dataclass(frozen=True, slots=True)
class ChildProcess:
    """A child and its channel."""

    channel: Channel
    process: Process

    @property
    def pid(self) -> int:
        """The process id."""
        return self.process.pid

    def kill(self) -> None:
        """End it at once, if it runs."""
        self.process.kill()

    async def wait(self) -> str:
        """Wait for its end. Return how it failed, or "" for exit code 0."""
        code = await asyncio.to_thread(self.process.wait)
        if code < 0:
            with contextlib.suppress(ValueError):
                return f"killed by {signal.Signals(-code).name}"
        return f"exit code {code}" if code else ""

    async def close(self) -> None:
        """Close the channel, and wait for the end of the process, which was killed or has ended."""
        await self.channel.close()
        await asyncio.to_thread(self.process.wait)


async def start_child(job: WorkerJob, spares: SpareProcesses | None = None) -> ChildProcess:
    """Start a child, which is one of the spares while there are some, and send it its job. Raises OSError."""
    process, end = (spares.take() if spares else None) or _start_interpreter()
    try:
        channel = await Channel.open(end)
    except BaseException:  # such as a cancellation: the process has no other owner
        process.kill()
        process.wait()
        end.close()
        raise
    channel.send("job", job)
    return ChildProcess(channel, process)


def _start_interpreter() -> tuple[Process, socket.socket]:
    """Start a new interpreter, and return this end of its socket. Nothing is forked, so threads and event loops do not matter.

    It starts with SIGINT and SIGHUP blocked: a terminal sends them to the whole group, but only the parent starts a drain.
    """
    end, other_end = socket.socketpair()
    command = [sys.executable, "-P", "-m", MODULE, str(other_end.fileno())]
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGHUP})
    try:
        with other_end:
            pass_fds = [other_end.fileno()]
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=pass_fds), end  # noqa: S603 - our own module
    except BaseException:  # whatever it is, the socket has no other owner
        end.close()
        raise
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
