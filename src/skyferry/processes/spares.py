"""Processes that are forked while the command has one thread, and wait for a job.

They have the modules of the command, so each begins at once, where a new interpreter imports for a quarter of a second of CPU.
A process with threads cannot be forked safely, so it is done before there are any, and only on Linux. A fork shares its memory
with the command until one of the two writes to it.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn

TASKS, DESCRIPTORS = Path("/proc/self/task"), Path("/proc/self/fd")
Main = Callable[[int], int]  # does the job that comes through a descriptor, and returns the exit code


class ForkedProcess:
    """A child of this process. It has the methods of `subprocess.Popen` that are used. Thread-safe."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._lock = threading.Lock()
        self._code: int | None = None

    def poll(self) -> int | None:
        """Return the exit code, or minus the signal that ended it; None while it runs."""
        with self._lock:
            return self._reap(os.WNOHANG)

    def kill(self) -> None:
        """End it at once, if it runs."""
        with self._lock:
            if self._reap(os.WNOHANG) is None:
                os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> int:
        """Wait for its end. Return as `poll`."""
        with suppress(ChildProcessError):  # another thread has its exit code
            os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)  # `kill` must not wait for the lock meanwhile
        with self._lock:
            code = self._reap(0)
        assert code is not None
        return code

    def _reap(self, options: int) -> int | None:
        if self._code is None:
            try:
                pid, status = os.waitpid(self.pid, options)
            except ChildProcessError:  # SIGCHLD is ignored, so the exit code is lost
                pid, status = self.pid, 0
            if pid:
                self._code = os.waitstatus_to_exitcode(status)
        return self._code


class SpareProcesses:
    """Processes that wait for a job."""

    def __init__(self) -> None:
        self._free: list[tuple[ForkedProcess, socket.socket]] = []

    def fork(self, main: Main) -> None:
        """Add one. Raises OSError. This process MUST have one thread, and SIGINT and SIGHUP blocked."""
        end, other_end = socket.socketpair()
        try:
            if not (pid := os.fork()):
                _wait_for_job(other_end, main)
        except OSError:
            end.close()
            raise
        finally:
            other_end.close()
        self._free.append((ForkedProcess(pid), end))

    def take(self) -> tuple[ForkedProcess, socket.socket] | None:
        """Return one that runs, and this end of its socket; None if none is left."""
        while self._free:
            process, end = self._free.pop(0)
            if process.poll() is None:
                return process, end
            end.close()
        return None

    def close(self) -> None:
        """End those that have not been taken."""
        for process, end in self._free:
            end.close()
            process.kill()
        for process, _ in self._free:
            process.wait()
        self._free.clear()


@contextmanager
def fork_spares(count: int, main: Main) -> Iterator[SpareProcesses]:
    """Fork so many processes, or fewer if that is impossible. Each calls `main` once its job arrives, and ends."""
    spares = SpareProcesses()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGHUP})
    try:
        with suppress(OSError):
            for _ in range(count if _can_fork() else 0):
                spares.fork(main)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    try:
        yield spares
    finally:
        spares.close()


def _can_fork() -> bool:
    return sys.platform == "linux" and TASKS.is_dir() and len(list(TASKS.iterdir())) == 1


def _wait_for_job(end: socket.socket, main: Main) -> NoReturn:
    """Be the new process. Nothing of the frames below this one is run again, nor collected."""
    code = 1
    try:
        gc.freeze()
        _close_others(end.fileno())
        with suppress(ConnectionError):
            code = main(end.detach()) if end.recv(1, socket.MSG_PEEK) else 0
    except BaseException:  # noqa: BLE001 - as an interpreter does at its end
        traceback.print_exc()
    finally:
        os._exit(code)


def _close_others(kept: int) -> None:
    """Close what this process has open, except the standard streams and one descriptor. Standard input is empty."""
    for number in [int(path.name) for path in DESCRIPTORS.iterdir()]:
        if number > 2 and number != kept:
            with suppress(OSError):  # the one of the folder itself
                os.close(number)
    empty = os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, 0)
    os.close(empty)
