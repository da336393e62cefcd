"""Starting one child, and its end."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import subprocess
import sys

from skyferry.frozen import dataclass
from skyferry.processes.channel import Channel
from skyferry.processes.job import WorkerJob

MODULE = "skyferry.cli.commands.service.worker_process"


@dataclass(frozen=True, slots=True)
class ChildProcess:
    """A child and its channel."""

    channel: Channel
    process: subprocess.Popen[bytes]

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


async def start_child(job: WorkerJob) -> ChildProcess:
    """Start a child, and send it its job. Raises OSError."""
    end, other_end = socket.socketpair()
    try:
        with other_end:
            process = _start_interpreter(other_end.fileno())
    except BaseException:  # whatever it is, the socket has no other owner
        end.close()
        raise
    try:
        channel = await Channel.open(end)
    except BaseException:  # such as a cancellation: the process has no other owner either
        process.kill()
        process.wait()
        end.close()
        raise
    channel.send("job", job)
    return ChildProcess(channel, process)


def _start_interpreter(descriptor: int) -> subprocess.Popen[bytes]:
    """Start a new interpreter that inherits the descriptor. Nothing is forked, so threads and event loops do not matter.

    It starts with SIGINT and SIGHUP blocked: a terminal sends them to the whole group, but only the parent starts a drain.
    """
    command = [sys.executable, "-P", "-m", MODULE, str(descriptor)]
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGHUP})
    try:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=[descriptor])  # noqa: S603 - our own module
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
